"""A receiver of webhooks on a free local port that checks every signature and answers what the test tells it to.

async with receiving() as receiver:
    receiver.secrets = [secret]
    receiver.answers = [500, 200]        # then 204
    …
    await receiver.until(2)
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from runtime.clock import SystemClock
from runtime.signatures import is_standard, key_of


@dataclass(frozen=True)
class Got:
    """One request: its headers in lower case, its body byte for byte."""

    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def message(self) -> dict[str, Any]:
        return json.loads(self.body)


@dataclass
class Receiver:
    """`answer` decides on each request: a status, or whole bytes to send. With `secrets` every signature must be right."""

    port: int = 0
    secrets: list[str] = field(default_factory=list)
    answers: list[int | bytes] = field(default_factory=list)
    default: int | bytes = 204
    gate: Callable[[Got], Awaitable[None]] | None = None
    got: list[Got] = field(default_factory=list)
    forged: list[Got] = field(default_factory=list)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    serving: set[asyncio.Task[None]] = field(default_factory=set)
    """One task for each open connection."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/in"

    async def until(self, count: int) -> list[Got]:
        """What has come in, as soon as it is so many."""
        async with asyncio.timeout(30):
            while len(self.got) < count:
                self.arrived.clear()
                await self.arrived.wait()
        return self.got

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection until it ends, or the receiver does."""
        if (task := asyncio.current_task()) is not None:
            self.serving.add(task)
            task.add_done_callback(self.serving.discard)
        try:
            while request := await _request(reader):
                self._note(request)
                if self.gate is not None:
                    await self.gate(request)
                answer = self.answers.pop(0) if self.answers else self.default
                raw = answer if isinstance(answer, bytes) else f"HTTP/1.1 {answer} X\r\nContent-Length: 0\r\n\r\n".encode()
                writer.write(raw)
                await writer.drain()
                if isinstance(answer, bytes):
                    break
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the sender has gone, as a crash would make it
        finally:
            writer.close()

    def _note(self, request: Got) -> None:
        headers = request.headers
        keys = [key_of(secret) for secret in self.secrets]
        signed = (headers.get("webhook-id", ""), headers.get("webhook-timestamp", ""), headers.get("webhook-signature", ""), request.body)
        if keys and not all(is_standard(key, *signed, now=SystemClock().now()) for key in keys):
            self.forged.append(request)
        self.got.append(request)
        self.arrived.set()


async def _request(reader: asyncio.StreamReader) -> Got | None:
    head = await reader.readuntil(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")[1:-2]
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return Got(headers, await reader.readexactly(int(headers.get("content-length", "0"))))


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    """A receiver that listens until the block ends."""
    receiver = Receiver()
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()
        for task in receiver.serving:  # a sender keeps its connection open; a loop that ends with one open complains much later
            task.cancel()
        await asyncio.gather(*receiver.serving, return_exceptions=True)
