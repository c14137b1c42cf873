"""PostgreSQL through asyncpg. The synchronous functions of the store run on it inside greenlets."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ClassVar, TypeVar

from sqlalchemy import Connection, text
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.util import await_only, greenlet_spawn

from runtime.store.database import Database

T = TypeVar("T")

_SERVER = {
    "application_name": "agentic-workflows",
    "statement_timeout": "30s",
    "lock_timeout": "10s",
    "idle_in_transaction_session_timeout": "60s",
}
KEY_BYTES = 220
"""What a row takes besides its columns: its header, its entries in indexes, the room between. Measured on journals of ten-event runs."""
_MIGRATIONS = 0x41574D31
"""Key of the advisory lock migrations hold."""


_TABLES = {"runs": "run_id", "events": "run_id", "inbox": "id"}
"""What makes a database large, each with the first column of its primary key."""
_LIVING = text("SELECT n_live_tup FROM pg_stat_user_tables WHERE relid = to_regclass(:table)")


class PostgresDatabase(Database):
    """A PostgreSQL server. READ COMMITTED is enough because every decision is made under the lock of the run's row."""

    patience: ClassVar[float] = 15.0

    def __init__(self, url: URL, durability: str) -> None:
        server = _SERVER if durability == "full" else {**_SERVER, "synchronous_commit": "off"}
        self._write_engine = _engine(url, server, size=1, overflow=1)
        self._read_engine = _engine(url, server, size=4, overflow=8)
        self.writer = self._write_engine.sync_engine
        self.reader = self._read_engine.sync_engine

    @contextmanager
    def turn(self) -> Iterator[None]:
        """The server itself takes care of many writers."""
        yield

    def pause(self, seconds: float) -> None:
        await_only(asyncio.sleep(seconds))

    async def run_writer(self, function: Callable[[], T]) -> T:
        return await greenlet_spawn(function)

    async def run_reader(self, function: Callable[[], T]) -> T:
        return await greenlet_spawn(function)

    def lock_migrations(self, connection: Connection) -> None:
        connection.execute(text("SET LOCAL lock_timeout = '300s'"))
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATIONS})

    def is_durable(self, connection: Connection) -> bool:
        synchronous = connection.scalar(text("SHOW synchronous_commit"))
        return bool(connection.scalar(text("SHOW fsync")) == "on" and synchronous != "off")

    def used_bytes(self, connection: Connection) -> int:
        """Living rows by the server's statistics: its files keep their size when rows are deleted, so they say nothing."""
        total = 0.0
        for table, key in _TABLES.items():
            sample = f"SELECT avg(pg_column_size(s.*)) FROM (SELECT * FROM {table} ORDER BY {key} DESC LIMIT 1000) s"  # noqa: S608 - names from above
            rows = connection.scalar(_LIVING, {"table": table}) or 0
            total += rows * (float(connection.scalar(text(sample)) or 0) + KEY_BYTES)
        return int(total)

    def vacuum(self) -> bool:
        """The server's autovacuum does it, and keeps the room for new rows."""
        return False

    async def close(self) -> None:
        await self._write_engine.dispose()
        await self._read_engine.dispose()


def _engine(url: URL, server: dict[str, str], *, size: int, overflow: int) -> AsyncEngine:
    query = dict(url.query)
    mode = query.pop("sslmode", None)  # libpq's name of what asyncpg calls ssl
    if mode is not None:
        query["ssl"] = mode
    return create_async_engine(
        url.set(drivername="postgresql+asyncpg", query=query),
        pool_size=size,
        max_overflow=overflow,
        connect_args={"server_settings": server, "timeout": 10, "command_timeout": 60},
    )
