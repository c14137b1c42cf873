"""Faults around COMMIT: a driver that fails there, and a TCP proxy that cuts the connection there."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Literal
from urllib.parse import urlsplit

from sqlalchemy import Connection, event

from runtime.store.open import Store
from tests.contract.conftest import socket_folder

Cut = Literal["before", "after"]
"""Whether the connection breaks before COMMIT has reached the database, or after it was carried out."""


class FailingCommit:
    """Makes the next COMMITs of a store's writer fail."""

    def __init__(self, store: Store) -> None:
        self.plan: list[Cut] = []
        self.failed = 0
        event.listen(store.database.writer, "commit", self._commit)

    def _commit(self, connection: Connection) -> None:
        if not self.plan:
            return
        self.failed += 1
        if self.plan.pop(0) == "after":
            connection.connection.commit()
        raise ConnectionResetError("cut")


class CuttingProxy:
    """Forwards to a PostgreSQL server, and cuts a connection at its next COMMIT when armed."""

    def __init__(self, server_url: str) -> None:
        self._parts = urlsplit(server_url)
        self._folder = socket_folder(server_url)
        self.armed: Cut | None = None
        self.refusing = False
        self.cuts = 0
        self.port = 0

    async def connect(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        if self.refusing:
            to_client.close()
            return
        if self._folder is not None:
            server, to_server = await asyncio.open_unix_connection(f"{self._folder}/.s.PGSQL.{self._parts.port or 5432}")
        else:
            server, to_server = await asyncio.open_connection(self._parts.hostname, self._parts.port or 5432)
        swallow = asyncio.Event()
        down = asyncio.create_task(self._down(server, to_client, swallow.is_set))
        with suppress(ConnectionError):  # whoever goes away first ends the connection
            while data := await client.read(65536):
                cut = self.armed if b"COMMIT" in data else None
                if cut is not None:
                    self.armed, self.cuts = None, self.cuts + 1
                if cut == "before":
                    break
                if cut == "after":
                    swallow.set()
                to_server.write(data)
        if not swallow.is_set():
            to_client.close()
            to_server.close()
        await down
        to_server.close()

    async def _down(self, server: asyncio.StreamReader, to_client: asyncio.StreamWriter, swallow: Callable[[], bool]) -> None:
        """Answers to the client; the one to a COMMIT that is to be lost is read, so that it was carried out, and thrown away."""
        with suppress(ConnectionError):
            while data := await server.read(65536):
                if swallow():
                    break
                to_client.write(data)
        to_client.close()


@asynccontextmanager
async def cutting_proxy(server_url: str) -> AsyncIterator[CuttingProxy]:
    """A proxy on a free port."""
    proxy = CuttingProxy(server_url)
    server = await asyncio.start_server(proxy.connect, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
