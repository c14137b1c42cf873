"""What the store needs of a database: an engine for the one writer, one for readers, and a place to run both.

All SQL is written as plain synchronous functions. SQLite runs them in threads on the standard library's driver (aiosqlite
costs more than four times the CPU); PostgreSQL runs the same functions on asyncpg through SQLAlchemy's greenlets.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import ClassVar, TypeVar

from sqlalchemy import Connection, Engine

T = TypeVar("T")


class Database(ABC):
    """One opened database. `durability` is `full` when a commit survives a power loss, else `relaxed`."""

    durability: str = "full"
    writer: Engine
    reader: Engine
    patience: ClassVar[float]
    """Seconds to go on asking for an outcome that COMMIT left unknown."""

    @abstractmethod
    def turn(self) -> AbstractContextManager[None]:
        """Hold the right to write; processes that share the database take turns."""

    @abstractmethod
    def pause(self, seconds: float) -> None:
        """Sleep, called from inside `run_writer`."""

    @abstractmethod
    async def run_writer(self, function: Callable[[], T]) -> T:
        """Run a function that uses `writer`; one at a time."""

    @abstractmethod
    async def run_reader(self, function: Callable[[], T]) -> T:
        """Run a function that uses `reader`; several at a time."""

    @abstractmethod
    def is_durable(self, connection: Connection) -> bool:
        """Whether the database waits for the disk before it confirms a commit."""

    def snapshot(self, connection: Connection) -> None:  # noqa: B027 - most databases are in one already
        """Let all statements of this reader's connection see the same state."""

    @abstractmethod
    def used_bytes(self, connection: Connection) -> int:
        """What the rows and their indexes take, about, without the room that deleted ones have left."""

    @abstractmethod
    def vacuum(self) -> bool:
        """Give the room of deleted rows back to the disk; called from inside `run_writer`. False when the database has its own way."""

    @abstractmethod
    async def close(self) -> None:
        """Give connections, threads and files back."""

    @abstractmethod
    def lock_migrations(self, connection: Connection) -> None:
        """Wait until no other process migrates; held to the end of the connection's transaction."""
