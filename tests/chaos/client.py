"""A client of the public HTTP API as a careful user would write one: the same key for the same wish, patience, and a count of everything."""

import asyncio
import json
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import aiohttp

AGAIN = {429, 500, 502, 503, 504}
PATIENCE = 240.0
"""Seconds one wish is repeated before the client gives up."""
SLOWEST = 30.0
MOST_WAIT = 5.0
"""Seconds between two tries, whatever `Retry-After` says: a trial is short."""


class GaveUpError(Exception):
    """The platform did not answer a wish within the patience."""


@dataclass
class Answer:
    """Status and JSON body (None when there is none)."""

    status: int
    body: Any
    headers: dict[str, str]
    ours: bool = True
    """False: a proxy before the platform said it, while nobody was behind it."""


@dataclass
class Client:
    """`counts`: tries by outcome (status, or the name of the connection's error)."""

    base: str
    key: str
    counts: Counter[str] = field(default_factory=Counter)
    patience: float = PATIENCE
    wrong: list[str] = field(default_factory=list)
    """Answers of 500 and the like that the platform gave itself, which no fault excuses. A proxy whose replica has died says 500, too, and is counted."""
    _session: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        headers = {"Authorization": f"Bearer {self.key}"}
        connector = aiohttp.TCPConnector(limit=1000, keepalive_timeout=30)
        self._session = aiohttp.ClientSession(headers=headers, connector=connector, timeout=aiohttp.ClientTimeout(total=SLOWEST, sock_connect=5))

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    @property
    def session(self) -> aiohttp.ClientSession:
        assert self._session is not None
        return self._session

    @property
    def tries(self) -> int:
        return sum(self.counts.values())

    @property
    def successes(self) -> int:
        """Tries that were answered with what was asked for, or with a proper no."""
        return sum(count for outcome, count in self.counts.items() if outcome.isdigit() and int(outcome) < 500 and int(outcome) != 429)

    async def once(self, method: str, path: str, *, body: Any = None, headers: dict[str, str] | None = None, params: Any = None) -> Answer:
        """One try. Raises aiohttp.ClientError, TimeoutError."""
        try:
            async with self.session.request(method, self.base + path, json=body, headers=headers, params=params) as answer:
                text = await answer.text()
        except (aiohttp.ClientError, TimeoutError, ConnectionError) as failure:
            self.counts[type(failure).__name__] += 1
            raise
        kind = answer.headers.get("Content-Type", "")
        ours = "json" in kind or answer.status < 400
        self.counts[str(answer.status) if ours else f"{answer.status} of the proxy"] += 1
        if answer.status >= 500 and answer.status != 503 and ours:
            self.wrong.append(f"{method} {path}: {answer.status} {text[:200]}")
        return Answer(answer.status, json.loads(text) if "json" in kind and text else text or None, dict(answer.headers), ours)

    async def ask(self, method: str, path: str, *, body: Any = None, headers: dict[str, str] | None = None, params: Any = None) -> Answer:
        """Again and again until the platform says yes or no. Only for what may be repeated: reads, and wishes with a key. Raises GaveUpError."""
        deadline = time.monotonic() + self.patience
        number = 0
        while True:
            wait = min(MOST_WAIT, 0.1 * 2 ** min(number, 6)) * random.uniform(0.5, 1)
            try:
                answer = await self.once(method, path, body=body, headers=headers, params=params)
                if answer.ours and answer.status not in AGAIN:
                    return answer
                wait = min(MOST_WAIT, float(answer.headers.get("Retry-After", wait)))
                last = str(answer.status)
            except (aiohttp.ClientError, TimeoutError, ConnectionError) as failure:
                last = type(failure).__name__
            if time.monotonic() + wait > deadline:
                raise GaveUpError(f"{method} {path}: nothing but {last} for {self.patience:g} s")
            number += 1
            await asyncio.sleep(wait)

    async def pages(self, path: str, name: str, **params: Any) -> list[dict[str, Any]]:
        """All pages of a list. Raises GaveUpError, LookupError when there is no such list."""
        found: list[dict[str, Any]] = []
        wanted = {"page_size": 1000, **params}
        while True:
            answer = await self.ask("GET", path, params=wanted)
            if answer.status != 200:
                raise LookupError(f"GET {path}: {answer.status} {str(answer.body)[:200]}")
            found += answer.body[name]
            token = answer.body.get("next_page_token")
            if not token:
                return found
            wanted["page_token"] = token


@dataclass
class Seen:
    """What one client was shown of one run, glued over all its connections."""

    run_id: str
    events: list[dict[str, Any]] = field(default_factory=list)
    connections: int = 0
    ended: bool = False

    @property
    def last(self) -> int:
        return self.events[-1]["seq"] if self.events else 0


async def follow(client: Client, run_id: str, seen: Seen, *, rng: random.Random | None = None) -> None:
    """Follow the run until its last event, over as many connections as it takes; with `rng` the client itself hangs up now and then."""
    number = 0
    deadline = time.monotonic() + client.patience * 2
    while not seen.ended and time.monotonic() < deadline:
        headers = {"Accept": "text/event-stream", **({"Last-Event-ID": str(seen.last)} if seen.events else {})}
        seen.connections += 1
        try:
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=SLOWEST)
            async with client.session.get(f"{client.base}/v1/runs/{run_id}/events", headers=headers, timeout=timeout) as answer:
                if answer.status == 204:
                    seen.ended = True
                elif answer.status == 200:
                    number = 0
                    await _read(answer, seen, rng)
        except (aiohttp.ClientError, TimeoutError, ConnectionError):
            number += 1
        if not seen.ended:
            await asyncio.sleep(min(MOST_WAIT, 0.1 * 2 ** min(number, 6)))


ENDS = {"run.succeeded", "run.failed", "run.canceled"}


async def _read(answer: aiohttp.ClientResponse, seen: Seen, rng: random.Random | None) -> None:
    """Keep whole events only: what a broken connection cut off was not seen."""
    number, data = None, None
    hang_up_after = rng.randint(1, 60) if rng is not None and rng.random() < 0.2 else None
    async for raw in answer.content:
        line = raw.decode().rstrip("\n")
        if line.startswith("id:"):
            number = int(line[3:])
        elif line.startswith("data:"):
            data = json.loads(line[5:])
        elif not line and data is not None:
            seen.events.append({**data, "id": number})
            seen.ended = data["event"] in ENDS
            number, data = None, None
            if hang_up_after is not None:
                hang_up_after -= 1
                if hang_up_after == 0:
                    return
