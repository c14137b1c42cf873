"""Opening a store: choose the database by its URL, bring the schema up to date, start the writer."""

from dataclasses import dataclass

from sqlalchemy import text

from runtime.store.cached_calls import SqlCachedCalls
from runtime.store.catalog import SqlCatalog
from runtime.store.connect import Durability, connect
from runtime.store.counting import SqlCounts
from runtime.store.database import Database
from runtime.store.journal import SqlJournal
from runtime.store.migrations import prepare, touch
from runtime.store.operations import Work
from runtime.store.provider_keys import SqlProviderKeys
from runtime.store.reader import Reader
from runtime.store.retention import SqlRetention
from runtime.store.schedules.sql import SqlSchedules
from runtime.store.sql_conversations import SqlConversations
from runtime.store.sql_money import SqlMoney
from runtime.store.sql_webhooks import SqlHooks, SqlOutbox
from runtime.store.writer import Writer


@dataclass(frozen=True, slots=True)
class Store:
    """An open store. `durability` is what the database really keeps: `relaxed` when a power loss may take the last commits."""

    journal: SqlJournal
    catalog: SqlCatalog
    retention: SqlRetention
    schedules: SqlSchedules
    outbox: SqlOutbox
    hooks: SqlHooks
    provider_keys: SqlProviderKeys
    conversations: SqlConversations
    cached_calls: SqlCachedCalls
    money: SqlMoney
    counts: SqlCounts
    durability: str
    database: Database
    writer: Writer
    reader: Reader

    async def ping(self) -> None:
        """Ask the database anything; after a write that failed, write something too. Raises StoreUnavailable.

        A full disk can still be read. Whoever is asked for nothing but reads would never learn that it has room again, hence the write.
        """
        await self.reader.read(lambda connection: connection.scalar(text("SELECT 1")))
        if self.writer.failing:
            await self.writer.write(Work(touch))

    async def close(self) -> None:
        """Carry out what waits, then give everything back."""
        await self.writer.close()
        await self.database.close()


async def open_store(url: str, *, durability: Durability = "full", migrate: bool = True) -> Store:
    """Open `sqlite:///path` or `postgresql+asyncpg://…` (also `postgresql://`).

    `migrate` brings the schema up to date. Raises StoreUnavailable, and SchemaMismatch when the schema is unknown, half
    there, or behind while `migrate` is False.
    """
    database = await connect(url, durability=durability)
    try:
        await prepare(database, migrate=migrate)
    except BaseException:
        await database.close()
        raise
    writer, reader = Writer(database), Reader(database)
    return Store(
        journal=SqlJournal(writer, reader),
        catalog=SqlCatalog(writer, reader),
        outbox=SqlOutbox(writer, reader),
        hooks=SqlHooks(writer, reader),
        provider_keys=SqlProviderKeys(writer, reader),
        conversations=SqlConversations(writer, reader),
        cached_calls=SqlCachedCalls(writer, reader),
        money=SqlMoney(writer, reader),
        counts=SqlCounts(writer, reader),
        retention=SqlRetention(database, writer, reader),
        schedules=SqlSchedules(writer, reader),
        durability=database.durability,
        database=database,
        writer=writer,
        reader=reader,
    )
