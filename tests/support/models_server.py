"""A model provider's list of models on a free local port: what a test of a key asks for. It knows one key and notes every request."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Asked:
    """One request: its target and its headers in lower case."""

    target: str
    headers: dict[str, str]


@dataclass
class ModelsServer:
    """`answer`: the whole response as bytes, instead of what the key deserves; None: by the key."""

    key: str = ""
    port: int = 0
    answer: bytes | None = None
    hang: bool = False
    asked: list[Asked] = field(default_factory=list)
    serving: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def url(self) -> str:
        """The base URL of the OpenAI kind."""
        return f"http://127.0.0.1:{self.port}/v1"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request."""
        if (task := asyncio.current_task()) is not None:
            self.serving.add(task)
            task.add_done_callback(self.serving.discard)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:-2])}
            self.asked.append(Asked(head[0].split(" ")[1], headers))
            if self.hang:
                await asyncio.Event().wait()
            writer.write(self.answer or self._deserved(headers))
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # whoever asked has gone
        finally:
            writer.close()

    def _deserved(self, headers: dict[str, str]) -> bytes:
        given = {headers.get("authorization", "").removeprefix("Bearer "), headers.get("x-api-key"), headers.get("x-goog-api-key")}
        if self.key in given:
            return response(200, {"object": "list", "data": [{"id": "m"}]})
        # As some providers do: the key stands in the error.
        return response(401, {"error": {"message": f"Incorrect API key provided: {sorted(each for each in given if each)}"}})


def response(status: int, body: object, *, content_type: str = "application/json", more: str = "") -> bytes:
    """A whole response. `body` becomes JSON unless it is bytes."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return f"HTTP/1.1 {status} X\r\nContent-Type: {content_type}\r\nContent-Length: {len(data)}\r\nConnection: close\r\n{more}\r\n".encode() + data


@asynccontextmanager
async def models_server(key: str = "") -> AsyncIterator[ModelsServer]:
    """A provider that listens until the block ends."""
    found = ModelsServer(key)
    server = await asyncio.start_server(found.serve, "127.0.0.1", 0)
    found.port = server.sockets[0].getsockname()[1]
    try:
        yield found
    finally:
        server.close()
        for task in found.serving:
            task.cancel()
        await asyncio.gather(*found.serving, return_exceptions=True)
