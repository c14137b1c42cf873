"""`python -m tests.chaos.witness --log FILE --port N`: the world outside of the platform, in one process with a log of its own.

It is a model provider, a ledger of effects, a receiver of webhooks, and a field of traps. Whatever arrives is on disk before it is answered,
so that its log is the truth about what the platform did to others.
"""

import argparse
import asyncio
import base64
import hashlib
import hmac
import signal
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from aiohttp import web

import tests.chaos.tools.provider_scripts  # noqa: F401 - registers its scripts
from tests.chaos.log import FsyncLog
from tests.chaos.provider import Provider
from tests.chaos.values import effect_value

MAX_BODY = 256 * 2**20


class Witness:
    """All handlers. `script` of a webhook is a list of `{"status": 500}` or `{"hang": seconds}`, consumed one per arrival."""

    def __init__(self, log: FsyncLog) -> None:
        self._log = log
        self._number = 0
        self._arrivals: Counter[str] = Counter()
        self._keyed: dict[str, dict[str, Any]] = {}
        self._secrets: dict[str, str] = {}
        self._scripts: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
        self._delivered: set[str] = set()
        self.provider = Provider(self.note)

    def application(self) -> web.Application:
        app = web.Application(client_max_size=MAX_BODY)
        app.add_routes(
            [
                web.post("/v1/chat/completions", self.provider.completions),
                web.post("/effect", self.effect),
                web.post("/webhook/{name}", self.webhook),
                web.post("/control/webhook/{name}", self.control),
                web.get("/ledger", self.ledger),
                web.get("/effects/{tag:.+}", self.of_tag),
                web.get("/healthz", self.healthz),
                web.route("*", "/trap/{rest:.*}", self.trap),
            ]
        )
        return app

    async def note(self, entry: dict[str, Any]) -> None:
        """Keep it; returns when it is on disk."""
        self._number += 1
        await self._log.write({"n": self._number, "at": time.time(), **entry})

    async def effect(self, request: web.Request) -> web.Response:
        """An effect: `{tag, parts, fail_first?, delay?}`. The first `fail_first` arrivals of a key are refused with 503, and noted as such."""
        key = request.headers.get("Idempotency-Key", "")
        body = await request.json()
        tag, parts = body["tag"], body.get("parts")
        self._arrivals[key] += 1
        number = self._arrivals[key]
        refused = number <= int(body.get("fail_first") or 0)
        first = not refused and key not in self._keyed
        value = effect_value(tag, parts)
        if first:
            self._keyed[key] = {"tag": tag, "value": value}
        await self.note({"kind": "effect", "key": key, "tag": tag, "number": number, "refused": refused, "first": first, "value": value})
        if delay := float(body.get("delay") or 0):
            await asyncio.sleep(delay)
        if refused:
            return web.json_response({"error": "not yet"}, status=503)
        return web.json_response({"tag": tag, "value": value, "number": number} if body.get("count") else {"tag": tag, "value": value})

    async def of_tag(self, request: web.Request) -> web.Response:
        """How often an effect with this tag was accepted: what a person looks at before deciding what became of an attempt."""
        tag = request.match_info["tag"]
        return web.json_response({"tag": tag, "accepted": sum(known["tag"] == tag for known in self._keyed.values())})

    async def webhook(self, request: web.Request) -> web.Response:
        """A delivery of the platform."""
        name, body = request.match_info["name"], await request.read()
        headers = {key.lower(): value for key, value in request.headers.items()}
        valid = _signed(self._secrets[name], headers, body) if name in self._secrets else None
        # Only a first delivery is treated badly: two failures in a row would be repeated after minutes, longer than a trial waits.
        number = headers.get("webhook-id", "")
        step = self._scripts[name].pop(0) if self._scripts[name] and number not in self._delivered else {}
        self._delivered.add(number)
        status = int(step.get("status", 200))
        hang = float(step.get("hang", 0))
        entry = {"kind": "webhook", "name": name, "headers": headers, "body": body.decode("utf-8", "replace"), "signed": valid, "status": status, "hang": hang}
        await self.note(entry)
        if hang:
            await asyncio.sleep(hang)
        return web.json_response({}, status=status)

    async def control(self, request: web.Request) -> web.Response:
        """`{secret?, script?}` of a webhook's name."""
        name, body = request.match_info["name"], await request.json()
        if "secret" in body:
            self._secrets[name] = body["secret"]
        self._scripts[name] += body.get("script", [])
        return web.json_response({})

    async def trap(self, request: web.Request) -> web.Response:
        """Nobody has any business here."""
        await self.note({"kind": "trap", "path": request.path, "method": request.method, "headers": dict(request.headers)})
        return web.json_response({"secret": "canary"})

    async def ledger(self, request: web.Request) -> web.StreamResponse:
        """The whole log as JSON lines."""
        return web.FileResponse(self._log.path, headers={"Content-Type": "application/jsonl"})

    async def healthz(self, request: web.Request) -> web.Response:
        return web.json_response({"arrivals": self._number})


def _signed(secret: str, headers: dict[str, str], body: bytes) -> bool:
    """Standard Webhooks: one of the signatures is the HMAC of `id.timestamp.body` under the secret (`whsec_` + base64)."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    text = f"{headers.get('webhook-id', '')}.{headers.get('webhook-timestamp', '')}.".encode() + body
    wanted = "v1," + base64.b64encode(hmac.new(key, text, hashlib.sha256).digest()).decode()
    return any(hmac.compare_digest(wanted, given) for given in headers.get("webhook-signature", "").split())


async def serve(log: Path, port: int) -> None:
    """Serve until SIGTERM."""
    kept = FsyncLog(log)
    runner = web.AppRunner(Witness(kept).application(), access_log=None, shutdown_timeout=1, keepalive_timeout=600)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=2048).start()
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    await stopped.wait()
    await runner.cleanup()
    kept.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--log", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args()
    asyncio.run(serve(options.log, options.port))
