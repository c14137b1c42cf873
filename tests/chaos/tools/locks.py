"""Holding a database's locks from another process, for as long as a trial wants."""

import asyncio
import fcntl
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import asyncpg

from tests.chaos.tools.singles import ROOT

Lock = Literal["exclusive", "turn", "tables"]
"""`exclusive`: SQLite's own lock (BEGIN EXCLUSIVE), as a foreign tool would hold it. `turn`: the side file by which the product's processes
take turns. `tables`: LOCK TABLE … ACCESS EXCLUSIVE on all tables of PostgreSQL."""


@contextmanager
def held(lock: Lock, database: str) -> Iterator[None]:
    """Another process holds the lock inside the block. `database`: the file's path, or the URL."""
    holder = subprocess.Popen(
        [sys.executable, "-m", "tests.chaos.tools.locks", lock, database],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert holder.stdin is not None
    assert holder.stdout is not None
    try:
        assert holder.stdout.readline() == b"held\n", "the lock could not be taken"
        yield
    finally:
        holder.stdin.close()
        holder.wait(10)
        holder.stdout.close()


def _hold() -> None:
    """Until whoever started us closes our standard input, or is gone."""
    print("held", flush=True)
    sys.stdin.read()


def _exclusive(path: str) -> None:
    connection = sqlite3.connect(path, isolation_level=None, timeout=60)
    connection.execute("BEGIN EXCLUSIVE")
    _hold()
    connection.execute("ROLLBACK")
    connection.close()


def _turn(path: str) -> None:
    with Path(f"{path}.lock").open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        _hold()


async def _tables(url: str) -> None:
    connection = await asyncpg.connect(url.replace("postgresql+asyncpg://", "postgresql://").replace("?ssl=", "?sslmode="))
    async with connection.transaction():
        names = [row[0] for row in await connection.fetch("SELECT quote_ident(tablename) FROM pg_tables WHERE schemaname = 'public'")]
        await connection.execute(f"LOCK TABLE {', '.join(names)} IN ACCESS EXCLUSIVE MODE")
        await asyncio.to_thread(_hold)
    await connection.close()


if __name__ == "__main__":
    _lock, _database = sys.argv[1:]
    if _lock == "tables":
        asyncio.run(_tables(_database))
    else:
        {"exclusive": _exclusive, "turn": _turn}[_lock](_database)
