"""Growing pauses between two looks at something that may not tell when it changes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from runtime.clock import Clock

FIRST = 0.002


class Pauses:
    """Each round takes at least the current pause, which doubles up to `longest` seconds; time spent inside counts."""

    def __init__(self, clock: Clock, *, longest: float) -> None:
        self._clock = clock
        self._longest = longest
        self._next = FIRST
        self._hurry = asyncio.Event()

    @asynccontextmanager
    async def at_least(self, limit: float) -> AsyncIterator[None]:
        """A round: the body runs, then what is left of the pause passes, but never more than `limit` seconds."""
        begun = self._clock.monotonic()
        yield
        left = min(self._next, limit) - (self._clock.monotonic() - begun)
        self._next = min(self._next * 2, self._longest)
        if left > 0:
            try:
                async with asyncio.timeout(left):
                    await self._hurry.wait()
            except TimeoutError:
                return
        self._hurry.clear()

    def restart(self) -> None:
        """Something changed: the next pause is a short one again."""
        self._next = FIRST

    def hurry(self) -> None:
        """End the current pause now, and begin with short ones."""
        self.restart()
        self._hurry.set()
