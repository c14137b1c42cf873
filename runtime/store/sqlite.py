"""SQLite: one writing thread per process, a few reading threads, and turns between processes."""

import asyncio
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.pool import QueuePool

from runtime.errors import StoreUnavailable
from runtime.store.database import Database
from runtime.store.lanes import Lanes

T = TypeVar("T")

_READERS = 4
_PAUSE = 0.0001
"""Seconds between giving a turn up and asking for the next one: without it the same process takes it again before a waiter
wakes (8 writers: worst wait 14 ms with the pause, 200 ms without)."""
_NETWORK = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "ceph", "glusterfs", "lustre", "fuse.sshfs", "fuse.s3fs", "fuse.glusterfs", "fuse.ceph"})


class SqliteDatabase(Database):
    """A file in WAL mode. Raises StoreUnavailable when it cannot be opened or lies on a network file system."""

    patience: ClassVar[float] = 0.0

    def __init__(self, url: URL, durability: str) -> None:
        if not url.database or url.database == ":memory:":
            raise StoreUnavailable("SQLite needs a file: sqlite:///path/to/file.db")
        self.path = Path(url.database).absolute()
        _refuse_network(self.path)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock = os.open(f"{self.path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreUnavailable(f"the database folder cannot be used: {error.strerror}") from error
        synchronous = f"synchronous={'FULL' if durability == 'full' else 'NORMAL'}"
        # Only a writer, in its turn, switches the file to WAL: the switch needs the file for itself, the mode then stays.
        self.writer = _engine(self.path, "BEGIN IMMEDIATE", "journal_mode=WAL", synchronous, size=1)
        self.reader = _engine(self.path, None, "query_only=ON", synchronous, size=_READERS)
        self._write_thread = ThreadPoolExecutor(1, thread_name_prefix="store-writer")
        self._reads = Lanes(_READERS, "store-reader")
        self._released = 0.0

    @contextmanager
    def turn(self) -> Iterator[None]:
        self.pause(max(0.0, self._released + _PAUSE - time.monotonic()))
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._lock, fcntl.LOCK_UN)
            self._released = time.monotonic()

    def pause(self, seconds: float) -> None:
        if seconds > 0:
            time.sleep(seconds)

    async def run_writer(self, function: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._write_thread, function)

    async def run_reader(self, function: Callable[[], T]) -> T:
        return await self._reads.run(function)

    def is_durable(self, connection: Connection) -> bool:
        return bool(connection.exec_driver_sql("PRAGMA synchronous").scalar_one() >= 2)  # FULL

    def lock_migrations(self, connection: Connection) -> None:
        """Nothing to do: `turn` and BEGIN IMMEDIATE already keep every other writer out."""

    def snapshot(self, connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN")

    def used_bytes(self, connection: Connection) -> int:
        pages, free, size = (connection.exec_driver_sql(f"PRAGMA {name}").scalar_one() for name in ("page_count", "freelist_count", "page_size"))
        return int((pages - free) * size)

    def vacuum(self) -> bool:
        with self.turn():
            raw = self.writer.raw_connection()  # VACUUM wants no transaction, and the engine begins one by itself
            try:
                for statement in ("VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)"):
                    raw.cursor().execute(statement).close()
            finally:
                raw.close()
        return True

    async def close(self) -> None:
        await self.run_writer(self.writer.dispose)
        await self.run_reader(self.reader.dispose)
        self._write_thread.shutdown()
        self._reads.close()
        os.close(self._lock)


def _engine(path: Path, begin: str | None, *pragmas: str, size: int) -> Engine:
    """`begin`: how a transaction starts; None lets every statement see the latest commit, which is one statement less per read."""
    engine = create_engine(
        URL.create("sqlite", database=str(path)),
        poolclass=QueuePool,
        pool_size=size,
        max_overflow=0,
        connect_args={"isolation_level": None, "timeout": 10, "check_same_thread": False, "cached_statements": 256},
    )

    def prepare(connection: Any, _record: Any) -> None:
        for pragma in (*pragmas, "foreign_keys=ON", "trusted_schema=OFF", "cache_size=-20000", "journal_size_limit=67108864"):
            connection.execute(f"PRAGMA {pragma}").close()

    def start(connection: Connection) -> None:
        # The driver starts no transactions by itself (isolation_level None): a writer takes its lock at once, never half-way.
        connection.exec_driver_sql(str(begin))

    event.listen(engine, "connect", prepare)
    if begin is not None:
        event.listen(engine, "begin", start)
    return engine


def _refuse_network(path: Path) -> None:
    """SQLite's locks do not work on network file systems. Raises StoreUnavailable when `path` lies on one."""
    try:
        lines = Path("/proc/mounts").read_text().splitlines()
    except FileNotFoundError:  # not Linux: there is nothing to read, and only Linux is supported
        return
    kind = file_system(path, lines)
    if kind in _NETWORK:
        raise StoreUnavailable(f"the database lies on a network file system ({kind}), where SQLite's locks do not work; use a local disk or PostgreSQL")


def file_system(path: Path, mounts: list[str]) -> str:
    """The type of the file system that holds `path`, from the lines of /proc/mounts."""
    real, best = os.path.realpath(path), ("", "")
    for line in mounts:
        _device, mount, kind = line.split(" ")[:3]
        point = mount.replace("\\040", " ")
        inside = point in ("/", real) or real.startswith(point + "/")
        if inside and len(point) >= len(best[0]):
            best = (point, kind)
    return best[1]
