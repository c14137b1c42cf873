"""An OpenAI-compatible server that answers every chat completion after a fixed time: a model without a bill. In a process of its own."""

import asyncio
import subprocess
import sys
import time
from types import TracebackType
from typing import Self

from aiohttp import web


class ModelServer:
    """`with ModelServer(seconds=1.0) as server: server.url`."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def __enter__(self) -> Self:
        self._process = subprocess.Popen([sys.executable, "-m", "bench.model_server", str(self._seconds)], stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._process.terminate()
        self._process.wait()


def serve(seconds: float) -> None:
    """Listen on a free port of the loopback device and print the base URL."""

    async def complete(_request: web.Request) -> web.Response:
        await asyncio.sleep(seconds)
        message = {"role": "assistant", "content": "Something worth saying."}
        usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return web.json_response({"id": "c", "object": "chat.completion", "created": int(time.time()), "model": "stub", "choices": [choice], "usage": usage})

    async def listen() -> None:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", complete)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, backlog=1024)
        await site.start()
        print(f"http://127.0.0.1:{runner.addresses[0][1]}/v1", flush=True)
        await asyncio.Event().wait()

    asyncio.run(listen())


if __name__ == "__main__":
    serve(float(sys.argv[1]))
