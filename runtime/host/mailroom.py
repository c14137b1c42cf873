"""Brings the messages of the inboxes to the runs of this host."""

import asyncio
from collections.abc import Callable, Mapping

from runtime.host.intake import POLL_SECONDS
from runtime.host.slot import Slot
from runtime.host.waiting import either
from runtime.store.protocol import Journal


class Mailroom:
    """Looks when it is told of news, and every second, because nudges may be lost."""

    def __init__(self, journal: Journal, owner: str, slots: Mapping[str, Slot], wake: Callable[[Slot], None]) -> None:
        self._journal, self._owner, self._slots, self._wake = journal, owner, slots, wake
        self._reading = False
        self.news = asyncio.Event()
        """Set by whoever knows of a message."""

    @property
    def busy(self) -> bool:
        """Whether there is news, or it is being read; also while the database is away in the middle of that."""
        return self._reading or self.news.is_set()

    async def bring(self) -> None:
        """Wait for news, or a second, and hand out what is there. Raises StoreUnavailable."""
        await either(self.news, POLL_SECONDS)
        self.news.clear()
        if not self._slots:
            return
        self._reading = True
        for message in await self._journal.inbox(self._owner):
            slot = self._slots.get(message.run_id)
            if slot is not None and slot.deliver(message):
                self._wake(slot)
        self._reading = False
