"""A client that does not give up, what it was told, and whether that was true."""

import asyncio
import itertools
import random
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import httpx2

ENDS = frozenset({"succeeded", "failed", "canceled"})
END_EVENTS = frozenset({"run.succeeded", "run.failed", "run.canceled"})
PATIENCE = 120.0
"""Seconds until a request must have been answered with success, over all its tries."""

SUM: dict[str, Any] = {
    "name": "sum",
    "inputs": {"n": {"type": "integer"}},
    "steps": {
        "a": {"python": {"function": "tests.chaos.tools.work:double", "args": {"n": "${{ inputs.n }}"}}},
        "each": {
            "python": {"function": "tests.chaos.tools.work:double", "args": {"n": "${{ item }}"}},
            "map": {"over": "[inputs.n, inputs.n + 1, inputs.n + 2]"},
            "needs": ["a"],
        },
        "rest": {"python": {"function": "tests.chaos.tools.work:rest", "args": {"seconds": 0.3}}, "needs": ["a"]},
        "nap": {"wait": {"for": "200ms"}, "needs": ["rest"]},
        "total": {"set": {"a": "${{ steps.a.output }}", "each": "${{ steps.each.output }}"}, "needs": ["nap"]},
    },
    "outputs": {"a": "steps.total.output.a", "each": "steps.total.output.each"},
}


def expected(n: int) -> dict[str, Any]:
    """What a run of SUM comes to."""
    return {"a": 2 * n, "each": [2 * n, 2 * n + 2, 2 * n + 4]}


@dataclass
class Told:
    """What clients were told, and what was wrong with it."""

    statuses: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    slowest: float = 0.0
    takeovers: int = 0
    """Claims of finished runs beyond the first of each."""
    acknowledged: dict[str, int] = field(default_factory=dict)
    """run id → the n it was started with"""

    @property
    def share(self) -> float:
        """Of the requests, how many succeeded at once."""
        every = sum(self.statuses.values())
        return sum(count for status, count in self.statuses.items() if status.startswith("2")) / max(1, every)


class Client:
    """Asks servers in turn, with a new connection whenever one breaks, until it is told yes or no."""

    def __init__(self, urls: list[str], key: str, told: Told, *, timeout: float = 40.0) -> None:
        self._urls = itertools.cycle(urls)
        self.told = told
        self._http = httpx2.AsyncClient(headers={"Authorization": f"Bearer {key}"}, timeout=timeout, trust_env=False, limits=httpx2.Limits(max_connections=300))

    async def close(self) -> None:
        await self._http.aclose()

    async def once(self, method: str, path: str, **more: Any) -> httpx2.Response | None:
        """One try; None when the connection broke, so that nobody knows."""
        began = time.monotonic()
        try:
            answer = await self._http.request(method, next(self._urls) + path, **more)
        except httpx2.TransportError as failure:
            self.told.statuses[type(failure).__name__] += 1
            return None
        self.told.slowest = max(self.told.slowest, time.monotonic() - began)
        self.told.statuses[str(answer.status_code)] += 1
        if answer.status_code in (429, 503) and "retry-after" not in answer.headers:
            self.told.violations.append(f"{method} {path}: {answer.status_code} without Retry-After: {answer.text[:200]}")
        if answer.status_code >= 500 and answer.status_code != 503:
            self.told.violations.append(f"{method} {path}: {answer.status_code}: {answer.text[:200]}")
        return answer

    async def call(self, method: str, path: str, *, wanted: tuple[int, ...] = (200, 202), **more: Any) -> httpx2.Response:
        """Again and again until it is answered. An answer that is neither wanted nor "later" is a violation."""
        deadline = time.monotonic() + PATIENCE
        while True:
            answer = await self.once(method, path, **more)
            if answer is not None and answer.status_code not in (429, 503):
                if answer.status_code not in wanted:
                    self.told.violations.append(f"{method} {path}: {answer.status_code} is a wrong answer: {answer.text[:200]}")
                return answer
            if time.monotonic() > deadline:
                raise TimeoutError(f"{method} {path}: no answer for {PATIENCE:g} s")
            await asyncio.sleep(random.uniform(0.05, 0.3))

    async def start(self, n: int, workflow: str = "sum") -> str:
        """Start a run of SUM; its id is acknowledged."""
        headers = {"Idempotency-Key": str(uuid.uuid4())}
        answer = await self.call("POST", f"/v1/workflows/{workflow}/runs", json={"inputs": {"n": n}}, headers=headers)
        run_id: str = answer.json()["run_id"]
        self.told.acknowledged[run_id] = n
        return run_id

    async def ended(self, run_id: str, seconds: float = PATIENCE) -> dict[str, Any]:
        """The run, once it has ended. Raises TimeoutError."""
        deadline = time.monotonic() + seconds
        while True:
            run: dict[str, Any] = (await self.call("GET", f"/v1/runs/{run_id}", headers={"Prefer": "wait=5"})).json()
            if run["status"] in ENDS:
                return run
            if time.monotonic() > deadline:
                raise TimeoutError(f"run {run_id} is {run['status']} after {seconds:g} s")

    async def events(self, run_id: str) -> list[dict[str, Any]]:
        """Its whole journal."""
        found: list[dict[str, Any]] = (await self.call("GET", f"/v1/runs/{run_id}/events", params={"page_size": 1000})).json()["events"]
        return found


class Load:
    """Runs of SUM, so many at a time, as long as the block lasts."""

    def __init__(self, client: Client, *, width: int = 10) -> None:
        self._client = client
        self._width = width
        self._tasks: list[asyncio.Task[None]] = []
        self._going = True
        self._numbers = itertools.count(1)

    async def __aenter__(self) -> "Load":
        await self._client.call("PUT", "/v1/workflows/sum", json=SUM, wanted=(200, 201))
        self._tasks = [asyncio.create_task(self._work()) for _ in range(self._width)]
        return self

    async def _work(self) -> None:
        while self._going:
            await self._client.start(next(self._numbers))
            await asyncio.sleep(0.05)

    async def __aexit__(self, *_error: object) -> None:
        self._going = False
        for outcome in await asyncio.gather(*self._tasks, return_exceptions=True):
            if isinstance(outcome, BaseException):
                self._client.told.violations.append(f"a client gave up: {outcome!r}")


async def judge(client: Client, *, seconds: float = PATIENCE) -> None:
    """Every acknowledged run has ended as it must, and its journal is whole. What is not so becomes a violation."""
    gate = asyncio.Semaphore(20)

    async def look(run_id: str, n: int) -> None:
        async with gate:
            try:
                run = await client.ended(run_id, seconds)
            except TimeoutError as failure:
                client.told.violations.append(str(failure))
                return
            if (run["status"], run.get("output")) != ("succeeded", expected(n)):
                client.told.violations.append(f"run {run_id} of {n} {run['status']} with {run.get('output')}, {run.get('error')}")
            events = await client.events(run_id)
            client.told.takeovers += sum(event["event"] == "run.claimed" for event in events) - 1
            client.told.violations += _broken(run_id, events)

    await asyncio.gather(*(look(run_id, n) for run_id, n in list(client.told.acknowledged.items())))


def _broken(run_id: str, events: list[dict[str, Any]]) -> list[str]:
    """What is wrong with a journal."""
    found = []
    if [event["seq"] for event in events] != list(range(1, len(events) + 1)):
        found.append(f"run {run_id}: its journal has gaps: {[event['seq'] for event in events]}")
    ends = [place for place, event in enumerate(events, 1) if event["event"] in END_EVENTS]
    if ends != [len(events)]:
        found.append(f"run {run_id}: its ends are at {ends} of {len(events)}")
    return found
