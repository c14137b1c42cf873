"""The Conversations on SQL."""

from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import Connection

from runtime.store import conversations
from runtime.store.conversation_protocol import ConversationRow, Exchange
from runtime.store.operations import Work
from runtime.store.reader import Reader
from runtime.store.writer import Writer

T = TypeVar("T")


class SqlConversations:
    """Implements `conversation_protocol.Conversations`, which documents every method."""

    def __init__(self, writer: Writer, reader: Reader) -> None:
        self._writer = writer
        self._reader = reader

    async def read(self, tenant: str, name: str) -> ConversationRow | None:
        return await self._reader.read(lambda connection: conversations.read(connection, tenant, name))

    async def page(self, tenant: str, name: str, *, after: int, limit: int) -> list[Exchange]:
        return await self._reader.read(lambda connection: conversations.page(connection, tenant, name, after, limit))

    async def latest(self, tenant: str, name: str, most: int) -> list[Exchange]:
        return await self._reader.read(lambda connection: conversations.latest(connection, tenant, name, most))

    async def remove(self, tenant: str, name: str) -> bool:
        found = False
        while await self._write(lambda connection: conversations.remove_some(connection, tenant, name)):
            found = True
        return found

    async def _write(self, function: Callable[[Connection], T]) -> T:
        return await self._writer.write(Work(function))
