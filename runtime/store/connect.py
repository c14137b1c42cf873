"""From a URL to an open database."""

from typing import Literal

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from runtime.errors import StoreUnavailable
from runtime.store.database import Database
from runtime.store.postgres import PostgresDatabase
from runtime.store.reader import Reader
from runtime.store.sqlite import SqliteDatabase

Durability = Literal["full", "relaxed"]


async def connect(url: str, *, durability: Durability = "full") -> Database:
    """The database behind a URL, whatever its schema. Raises StoreUnavailable."""
    parsed = _parse(url)
    database = SqliteDatabase(parsed, durability) if parsed.get_backend_name() == "sqlite" else PostgresDatabase(parsed, durability)
    try:
        full = await Reader(database).read(database.is_durable)
    except BaseException:
        await database.close()
        raise
    database.durability = "full" if full else "relaxed"
    return database


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url.replace("postgres://", "postgresql://", 1) if url.startswith("postgres://") else url)
    except ArgumentError:
        raise StoreUnavailable("DATABASE_URL is not a URL") from None
    if parsed.get_backend_name() not in {"sqlite", "postgresql"}:
        raise StoreUnavailable("DATABASE_URL must begin with sqlite:/// or postgresql+asyncpg://")
    return parsed
