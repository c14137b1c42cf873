"""Conversations as the API shows them. They are written by the runs alone."""

from runtime.errors import NotFound
from runtime.store.conversation_protocol import ConversationRow, Exchange, stored_name
from runtime.store.conversation_protocol import Conversations as Stored


class Conversations:
    """Every method takes the tenant from whoever authenticated the caller."""

    def __init__(self, stored: Stored) -> None:
        self._stored = stored

    async def conversation(self, tenant: str, name: str, mode: str) -> ConversationRow:
        """The conversation of the runs of this mode. Raises NotFound."""
        row = await self._stored.read(tenant, stored_name(name, mode)) if name.isascii() else None
        if row is None:
            raise _missing(name)
        return row

    async def exchanges(self, tenant: str, name: str, mode: str, *, after: int, limit: int) -> list[Exchange]:
        """What was said after number `after`, oldest first."""
        return await self._stored.page(tenant, stored_name(name, mode), after=after, limit=limit)

    async def remove(self, tenant: str, name: str, mode: str) -> None:
        """Forget all of it. Raises NotFound."""
        if not name.isascii() or not await self._stored.remove(tenant, stored_name(name, mode)):
            raise _missing(name)


def _missing(name: str) -> NotFound:
    return NotFound(f"there is no conversation {name[:128]!a}")
