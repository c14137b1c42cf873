"""An OpenAI-compatible server that answers every chat completion after a fixed time: a model without a bill. In a process of its own.

Asked for a stream, it spreads its answer over that time, and each piece of text is the moment at which it was sent. With a rate it
refuses what would be more than so many requests within a minute. `/seen` tells of all requests so far.
"""

import asyncio
import json
import subprocess
import sys
import time
from bisect import bisect_left
from types import TracebackType
from typing import Self

from aiohttp import web

PIECES = 100
"""Of a streamed answer."""
DIGITS = 19
"""Of a piece: nanoseconds of the machine's monotonic clock, which all of its processes share."""


class ModelServer:
    """`with ModelServer(seconds=1.0) as server: server.url`. `rate`: requests a minute; 0 for any number."""

    def __init__(self, seconds: float, rate: int = 0) -> None:
        self._arguments = [str(seconds), str(rate)]

    def __enter__(self) -> Self:
        self._process = subprocess.Popen([sys.executable, "-m", "bench.model_server", *self._arguments], stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._process.terminate()
        self._process.wait()


class Seen:
    """When requests came."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._taken: list[float] = []
        self._asked = self._refused = self._most = 0
        self._first = self._last = 0.0

    def take(self) -> bool:
        """Count a request that comes now; whether it is answered."""
        now = time.monotonic()
        self._first, self._last = self._first or now, now
        self._asked += 1
        lately = len(self._taken) - bisect_left(self._taken, now - 60)
        if self._rate and lately >= self._rate:
            self._refused += 1
            return False
        self._taken.append(now)
        self._most = max(self._most, lately + 1)
        return True

    def told(self) -> dict[str, float]:
        """`first` and `last` in seconds of a clock; `most`: answered within one minute."""
        return {"asked": self._asked, "refused": self._refused, "most": self._most, "first": self._first, "last": self._last}


def serve(seconds: float, rate: int) -> None:
    """Listen on a free port of the loopback device and print the base URL."""
    seen = Seen(rate)

    async def complete(request: web.Request) -> web.StreamResponse:
        if not seen.take():
            return web.json_response({"error": {"message": "too many requests", "code": "rate_limit_exceeded"}}, status=429, headers={"Retry-After": "1"})
        if (await request.json()).get("stream"):
            return await _stream(request, seconds)
        await asyncio.sleep(seconds)
        message = {"role": "assistant", "content": "Something worth saying."}
        usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return web.json_response({"id": "c", "object": "chat.completion", "created": int(time.time()), "model": "stub", "choices": [choice], "usage": usage})

    async def tell(_: web.Request) -> web.StreamResponse:
        return web.json_response(seen.told())

    async def listen() -> None:
        app = web.Application()
        app.router.add_get("/v1/seen", tell)
        app.router.add_post("/v1/chat/completions", complete)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, backlog=1024)
        await site.start()
        print(f"http://127.0.0.1:{runner.addresses[0][1]}/v1", flush=True)
        await asyncio.Event().wait()

    asyncio.run(listen())


async def _stream(request: web.Request, seconds: float) -> web.StreamResponse:
    answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await answer.prepare(request)
    for _ in range(PIECES):
        await asyncio.sleep(seconds / PIECES)
        await answer.write(_event([{"index": 0, "delta": {"content": f"{time.monotonic_ns():0{DIGITS}d}"}, "finish_reason": None}]))
    await answer.write(_event([{"index": 0, "delta": {}, "finish_reason": "stop"}]))
    await answer.write(_event([], usage={"prompt_tokens": 10, "completion_tokens": PIECES, "total_tokens": 10 + PIECES}) + b"data: [DONE]\n\n")
    await answer.write_eof()
    return answer


def _event(choices: list[dict[str, object]], **more: object) -> bytes:
    chunk = {"id": "c", "object": "chat.completion.chunk", "created": int(time.time()), "model": "stub", "choices": choices, **more}
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


if __name__ == "__main__":
    serve(float(sys.argv[1]), int(sys.argv[2]))
