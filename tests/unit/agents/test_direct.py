"""Our way to providers does what httpx2's own transport does: the same answers, the same failures."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import httpx2
import pytest

from runtime.agents.direct import DirectTransport
from tests.support.until import until

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
TIMEOUT = httpx2.Timeout(5.0, read=0.3)


class Server:
    """Reads a request and leaves the rest to the test."""

    def __init__(self) -> None:
        self.heads: list[bytes] = []
        self.bodies: list[bytes] = []
        self.left = 0
        self.talk: Talk = answer(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            self.heads.append(head)
            length = next((int(line.split(b":")[1]) for line in head.lower().splitlines() if line.startswith(b"content-length")), 0)
            self.bodies.append(await reader.readexactly(length))
            await self.talk(reader, writer)
            if not await reader.read(1):
                self.left += 1
        except (ConnectionError, asyncio.IncompleteReadError):
            self.left += 1
        finally:
            writer.close()


def answer(*parts: bytes, ends: bool = False) -> Talk:
    """Write these; `ends`: and close the connection."""

    async def talk(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for part in parts:
            writer.write(part)
            await writer.drain()
        if ends:
            writer.close()

    return talk


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made = Server()
    listening = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/v1/x?a=%2Fb&c=d%20e"
    async with listening:
        yield made


def theirs() -> httpx2.AsyncBaseTransport:
    return httpx2.AsyncHTTPTransport(trust_env=False)


def ours() -> httpx2.AsyncBaseTransport:
    return DirectTransport(10)


@pytest.fixture(params=[theirs, ours], ids=["theirs", "ours"])
async def client(request) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(transport=request.param(), timeout=TIMEOUT) as made:
        yield made


async def test_requests_go_out_as_they_are(server, client):
    answered = await client.post(server.url, json={"ü": "✓"}, headers={"Authorization": "Bearer x", "X-Own": "1"})
    assert (answered.status_code, answered.text) == (200, "ok")
    lines = {line.split(b":")[0].strip().lower(): line.split(b":", 1)[1].strip() for line in server.heads[0].splitlines()[1:] if line}
    assert server.heads[0].startswith(b"POST /v1/x?a=%2Fb&c=d%20e HTTP/1.1\r\n")
    assert (lines[b"authorization"], lines[b"x-own"], lines[b"content-type"]) == (b"Bearer x", b"1", b"application/json")
    assert set(lines) == {b"host", b"accept", b"accept-encoding", b"connection", b"user-agent", b"authorization", b"x-own", b"content-length", b"content-type"}
    assert server.bodies == ['{"ü":"✓"}'.encode()]


async def test_answers_come_as_they_are(server, client):
    packed = b"\x1f\x8b not really"
    head = f"HTTP/1.1 302 Found\r\nLocation: /other\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nX-Large: {'x' * 20_000}\r\nContent-Length: {len(packed)}\r\n\r\n"
    server.talk = answer(head.encode(), packed)
    async with client.stream("POST", server.url, content=b"x") as answered:
        assert (answered.status_code, answered.headers["location"], len(answered.headers["x-large"])) == (302, "/other", 20_000)
        assert answered.headers.get_list("set-cookie") == ["a=1", "b=2"]
        assert b"".join([part async for part in answered.aiter_raw()]) == packed
    assert len(server.heads) == 1


async def test_pieces_come_when_they_are_sent(server, client):
    more = asyncio.Event()

    async def talk(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
        await more.wait()
        writer.write(b"6\r\nsecond\r\n0\r\n\r\n")

    server.talk = talk
    async with client.stream("POST", server.url, content=b"x") as answered:
        parts = answered.aiter_raw()
        assert await anext(parts) == b"first"
        more.set()
        assert await anext(parts) == b"second"


async def test_whoever_stops_reading_is_seen_to_leave(server, client):
    server.talk = answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
    async with client.stream("POST", server.url, content=b"x") as answered:
        assert await anext(answered.aiter_raw()) == b"first"
    await until(lambda: server.left == 1)


async def test_a_canceled_request_is_seen_to_leave(server, client):
    server.talk = answer()
    asking = asyncio.create_task(client.post(server.url, content=b"x", timeout=20))
    await until(lambda: server.bodies)
    asking.cancel()
    await until(lambda: server.left == 1)


@pytest.mark.parametrize(
    ("talk", "error"),
    [
        (answer(), httpx2.ReadTimeout),
        (answer(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n12"), httpx2.ReadTimeout),
        (answer(ends=True), httpx2.RemoteProtocolError),
        (answer(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n12", ends=True), httpx2.RemoteProtocolError),
        (answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfi", ends=True), httpx2.RemoteProtocolError),
        (answer(b"SSH-2.0-OpenSSH\r\n\r\n", ends=True), httpx2.RemoteProtocolError),
    ],
    ids=["silence", "half, then silence", "nothing", "half", "half a chunk", "no HTTP"],
)
async def test_failures_have_the_same_names(server, client, talk, error):
    server.talk = talk
    with pytest.raises(error):
        await client.post(server.url, content=b"x")


@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("http://127.0.0.1:1/", httpx2.ConnectError),
        ("http://no-such-host.invalid/", httpx2.ConnectError),
        ("ftp://127.0.0.1/", httpx2.UnsupportedProtocol),
    ],
)
async def test_what_cannot_be_reached(client, url, error):
    with pytest.raises(error):
        await client.post(url, content=b"x")


async def test_a_header_is_one_line(server, client):
    with pytest.raises(httpx2.LocalProtocolError):
        await client.post(server.url, headers={"Authorization": "Bearer a\r\nX-Other: b"}, content=b"x")
    assert server.heads == []
