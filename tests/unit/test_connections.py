"""Connections nobody uses are closed, although no further request comes."""

import asyncio
from collections.abc import AsyncIterator

import httpx2
import pytest

from runtime.agents import direct
from runtime.agents.direct import DirectTransport
from runtime.steps import outbound
from runtime.steps.addresses import AllowList
from runtime.steps.outbound import Outbound
from tests.support.until import until


class Server:
    """Answers every request with a word, as soon as it may, and knows who is connected."""

    def __init__(self) -> None:
        self.open: set[asyncio.StreamWriter] = set()
        self.may = asyncio.Event()
        self.url = ""

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open.add(writer)
        try:
            while await reader.readline():
                while (await reader.readline()).strip():
                    pass
                await self.may.wait()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        finally:
            self.open.discard(writer)
            writer.close()


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made = Server()
    listening = await asyncio.start_server(made.talk, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/"
    async with listening:
        yield made


@pytest.fixture(params=["direct", "outbound"])
async def client(request, monkeypatch) -> AsyncIterator[httpx2.AsyncClient]:
    monkeypatch.setattr(direct if request.param == "direct" else outbound, "KEPT_SECONDS", 0.2)
    transport = DirectTransport(100) if request.param == "direct" else Outbound(AllowList.parse(["127.0.0.1"]))
    async with httpx2.AsyncClient(transport=transport) as made:
        yield made


async def test_idle_connections_are_closed(server, client):
    asked = [asyncio.create_task(client.get(server.url)) for _ in range(20)]
    await until(lambda: len(server.open) == 20)
    server.may.set()
    assert [answer.text for answer in await asyncio.gather(*asked)] == ["ok"] * 20
    await until(lambda: not server.open)
    assert (await client.get(server.url)).text == "ok"
    await until(lambda: not server.open)


async def test_connections_in_use_are_left_alone(server, client):
    asked = [asyncio.create_task(client.get(server.url)) for _ in range(2)]
    await until(lambda: len(server.open) == 2)
    await asyncio.sleep(0.6)  # three times as long as an idle one is kept
    server.may.set()
    assert [answer.text for answer in await asyncio.gather(*asked)] == ["ok"] * 2
