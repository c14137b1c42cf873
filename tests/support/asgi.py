"""The lower half of the model servers of these tests: bodies, streams and sockets, whatever is said on them."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Protocol, TypeVar

import uvicorn

PIECE = 4
"""Characters of a piece of a streamed text."""


class Application(Protocol):
    """An ASGI application that has to know its port, and when it is to end what has no end."""

    port: int
    closing: bool

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None: ...


Server = TypeVar("Server", bound=Application)

EVENTS = [(b"content-type", b"text/event-stream; charset=utf-8")]
"""Headers of a stream."""


def event(data: dict[str, Any], name: str | None = None) -> bytes:
    """One server-sent event. Its text is not escaped, so that a character may have several bytes; halves of surrogate pairs have to be."""
    head = b"" if name is None else f"event: {name}\n".encode()
    text = json.dumps(data, ensure_ascii=False)
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        text = json.dumps(data)
    return head + b"data: " + text.encode() + b"\n\n"


def pieces(text: str, size: int = PIECE) -> list[str]:
    """The text, so many characters at a time."""
    return [text[start : start + size] for start in range(0, len(text), size)]


async def send_huge(send: Any, answer: bytes, size: int) -> None:
    """Piece by piece, so that the server itself needs no memory for it."""
    before, _, after = answer.partition(b"@")
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
    piece = b"x" * 65536
    for part in (before, *[piece] * (size // len(piece)), after):
        await send({"type": "http.response.body", "body": part, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def read_body(receive: Any) -> bytes:
    """All of a request's."""
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            return body


async def gone(receive: Any) -> None:
    """Returns when the client has gone away."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def send_whole(send: Any, status: int, body: bytes, content_type: bytes = b"application/json", headers: list[tuple[bytes, bytes]] | None = None) -> None:
    """An answer that is there at once."""
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", content_type), *(headers or [])]})
    await send({"type": "http.response.body", "body": body})


@asynccontextmanager
async def serving(server: Server) -> AsyncIterator[Server]:
    """The server, running on a free port; closed at the end."""
    # asyncio turns Nagle's delay (40 ms an answer) off only on sockets that say they are TCP.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen(2048)
    server.port = listener.getsockname()[1]
    config = uvicorn.Config(server, lifespan="off", log_level="critical", timeout_graceful_shutdown=1, timeout_keep_alive=60, http="h11")
    running = uvicorn.Server(config)
    running.install_signal_handlers = lambda: None
    task = asyncio.create_task(running.serve(sockets=[listener]))
    try:
        yield server
    finally:
        running.should_exit = server.closing = True
        await task
        listener.close()
