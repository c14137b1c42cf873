"""Servers without Ray on one database: the light stage on which a database or a disk is hurt.

    async with stage(folder, "postgresql", proxied=True) as at:
        at.proxy.arm(...); await at.client.start(1)

Each server is API, host and steps in one process; several are one platform that shares runs as a cluster does.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runtime.store.fsck import fsck
from runtime.store.open import open_store
from tests.chaos.alone.load import Client, Told
from tests.chaos.postgres import Postgres
from tests.chaos.tools.proxy import PostgresProxy
from tests.chaos.tools.singles import Single


@dataclass
class Stage:
    """What a trial acts on. `url` leads to the database without a proxy."""

    folder: Path
    database: str
    url: str
    servers: list[Single]
    client: Client
    told: Told
    postgres: Postgres | None = None
    proxy: PostgresProxy | None = None
    notes: dict[str, Any] = field(default_factory=dict)

    async def kill(self, server: Single) -> None:
        """`kill -9`; it is started again as soon as the keeper sees it."""
        await asyncio.to_thread(server.kill)

    async def keep(self) -> None:
        """Start dead servers again, for ever: the supervisor of this stage."""
        while True:
            for server in self.servers:
                if not server.alive:
                    await asyncio.to_thread(server.start)
            await asyncio.sleep(0.05)

    async def check(self) -> None:
        """The journal's invariants, read from the database itself."""
        store = await open_store(self.url, migrate=False)
        try:
            self.told.violations += [f"fsck: {finding}" for finding in await fsck(store)]
        finally:
            await store.close()


@asynccontextmanager
async def stage(
    folder: Path,
    database: str,
    *,
    servers: int = 1,
    proxied: bool = False,
    kept: bool = False,
    environment: Mapping[str, str] | None = None,
    prefix: Sequence[str] = (),
) -> AsyncIterator[Stage]:
    """A running stage. `kept`: servers that die are started again. `prefix` goes before the first server's command."""
    async with AsyncExitStack() as stack:
        url, way, postgres, proxy = f"sqlite:///{folder / 'home' / 'db' / 'workflows.db'}", "", None, None
        if database == "postgresql":
            postgres = Postgres()
            await postgres.create()
            stack.push_async_callback(postgres.remove)
            url = way = postgres.url() + "?ssl=disable"
            if proxied:
                proxy = stack.enter_context(PostgresProxy("127.0.0.1", postgres.port))
                way = postgres.url(port=proxy.port) + "?ssl=disable"
        settings = {**(environment or {}), "DATABASE_URL": way or url}
        made = [Single(folder / "home", environment=settings, prefix=prefix if place == 0 else ()) for place in range(servers)]
        stack.callback(_end, made)
        for server in made:  # one after the other: the first one migrates
            await asyncio.to_thread(server.start)
        told = Told()
        client = Client([server.url for server in made], made[0].key, told)
        stack.push_async_callback(client.close)
        built = Stage(folder, database, url, made, client, told, postgres, proxy)
        if kept:
            keeper = asyncio.create_task(built.keep())
            stack.push_async_callback(_stop, keeper)
        yield built


async def _stop(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def _end(servers: list[Single]) -> None:
    for server in servers:
        if server.process is not None:
            server.kill()
