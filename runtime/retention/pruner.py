"""Removing the runs that rules let go, portion by portion, with pauses for whoever else writes."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass

from runtime.store.candidates import Candidate, Rule
from runtime.store.removal import RUNS_AT_ONCE
from runtime.store.retention import SqlRetention

PAUSE_SECONDS = 0.01
"""Between two transactions: others get their turn, and this work is never in a hurry."""


@dataclass(slots=True)
class Tally:
    """What went, or would go. `size` is in bytes, about."""

    runs: int = 0
    events: int = 0
    size: int = 0

    def add(self, runs: int, events: int, size: int) -> None:
        self.runs, self.events, self.size = self.runs + runs, self.events + events, self.size + size


class Pruner:
    """Works on one store. Two of them at once share the work: what one holds, the other leaves."""

    def __init__(self, store: SqlRetention, *, pause: float = PAUSE_SECONDS) -> None:
        self._store = store
        self._pause = pause

    async def count(self, rules: Iterable[Rule]) -> Tally:
        """What `prune` would remove now."""
        tally = Tally()
        async for page in self._pages(rules):
            events, size = await self._store.weigh([candidate.run_id for candidate in page])
            tally.add(len(page), events, size)
        return tally

    async def prune(self, rules: Iterable[Rule]) -> Tally:
        """Remove every run the rules let go, and all that hangs on them."""
        tally = Tally()
        async for page in self._pages(rules):
            await self._remove(page, tally)
        return tally

    async def make_room(self, rules: list[Rule], most: int) -> Tally:
        """Remove the runs that ended longest ago until the database holds at most `most` bytes, or no rule lets anything go."""
        tally = Tally()
        excess = await self._store.used_bytes() - most
        while excess > 0:
            before = tally.size
            page = await self._store.oldest(rules, RUNS_AT_ONCE)
            await self._remove(page, tally)
            if tally.size == before:
                break
            # What was weighed counts at once: statistics and free pages follow later.
            excess -= tally.size - before
        return tally

    async def clear(self) -> int:
        """Delete all that removed runs have left, also after a crash; how many rows."""
        rows = 0
        while done := await self._store.clear():
            rows += done
            await asyncio.sleep(self._pause)
        return rows

    async def _pages(self, rules: Iterable[Rule]) -> AsyncIterator[Sequence[Candidate]]:
        for rule in rules:
            last: Candidate | None = None
            while page := await self._store.find(rule, last, RUNS_AT_ONCE):
                yield page
                last = page[-1]

    async def _remove(self, page: Sequence[Candidate], tally: Tally) -> None:
        if not page:
            return
        _, size = await self._store.weigh([candidate.run_id for candidate in page])
        removed = await self._store.remove([candidate.run_id for candidate in page])
        tally.add(len(removed.run_ids), removed.events, size if removed.run_ids else 0)
        await asyncio.sleep(self._pause)
        await self.clear()
