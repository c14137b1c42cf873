"""Where all processes of a cluster ask whether a request may go out: one desk, in the Supervisor or in the local host."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

from runtime.limits.book import Book
from runtime.limits.messages import Answer, Batch, Where
from runtime.limits.views import shown

POLL_SECONDS = 4.0
"""A process that has nothing to hear is answered after so long, and asks again: by that its life is known."""
TIDY_SECONDS = 2.0


class Desk:
    """Belongs to one event loop. Forgets everything when its process ends; the processes that ask then tell it what they know."""

    def __init__(self, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.book = Book()
        self._monotonic = monotonic
        self._polls: dict[str, asyncio.Event] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._tidied = 0.0

    async def exchange(self, batch: Batch) -> Answer:
        """Hear what a process says; answer when it may send something, when it says something else, or after a while. Never raises."""
        if not self.book.take(batch, self._monotonic()):
            return Answer(again=True)
        if (before := self._polls.pop(batch.holder, None)) is not None:
            before.set()
        self._serve()
        if not self.book.holders[batch.holder].granted and not batch.news:
            await self._poll(batch.holder)
        return self._answer(batch.holder)

    def died(self, name: str) -> None:
        """The process of this name is gone: what it held is free at once."""
        for holder in [holder for holder in self.book.holders if holder.startswith(f"{name}/")]:
            self.book.leave(holder)
        self._serve()

    def limited(self) -> tuple[Where, ...]:
        """The spots that are limited by more than settings; all others may be asked without asking here."""
        return self.book.limited(self._monotonic())

    def shown(self, tenant: str) -> list[dict[str, Any]]:
        """What this tenant may see."""
        return shown(self.book, tenant, self._monotonic())

    def close(self) -> None:
        """Serve nobody any more."""
        if self._timer is not None:
            self._timer.cancel()

    async def _poll(self, holder: str) -> None:
        event = self._polls[holder] = asyncio.Event()
        try:
            async with asyncio.timeout(POLL_SECONDS):
                await event.wait()
        except TimeoutError:
            pass  # there was nothing to say
        finally:
            if self._polls.get(holder) is event:
                del self._polls[holder]

    def _answer(self, holder: str) -> Answer:
        found = self.book.holders.get(holder)
        if found is None:
            return Answer(again=True)
        granted, found.granted = tuple(found.granted), []
        return Answer(granted, self.book.places(holder, self._monotonic()))

    def _serve(self) -> None:
        """Let go whoever may, wake their processes, and come back when the next one may."""
        now = self._monotonic()
        if now - self._tidied > TIDY_SECONDS:
            self._tidied = now
            self.book.tidy(now)
        for waiting in self.book.serve(now):
            if (poll := self._polls.get(waiting.id[0])) is not None:
                poll.set()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        at = self.book.next_at(now)
        wanted = [at - now] if at is not None else []
        if self.book.holders:
            wanted.append(TIDY_SECONDS)
        if wanted:
            self._timer = asyncio.get_running_loop().call_later(max(0.0, min(wanted)), self._serve)
