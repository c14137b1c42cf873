"""Folded runs, kept for the pages that people read: a page of a map of 10,000 items must not fold the journal anew."""

import asyncio

from runtime.definition.plan import Plan
from runtime.engine.evolve import fold
from runtime.engine.state import RunState
from runtime.lru import Lru
from runtime.store.protocol import Journal

WEIGHT = 500_000
"""Steps and items of all folded runs one process keeps."""
PAGE = 1000


class _Entry:
    """One run's state as far as it was read; the lock keeps two readers from folding the same event twice."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.state: RunState | None = None


class Folds:
    """Run id → state. Each read folds only what the journal has gained since the last one."""

    def __init__(self, journal: Journal, weight: int = WEIGHT) -> None:
        self._journal = journal
        self._entries: Lru[str, _Entry] = Lru(weight)

    async def state(self, run_id: str, plan: Plan) -> RunState:
        """The fold of everything committed before this call. The caller only reads it, and before its next await.

        Raises InvalidTransition when the journal is broken.
        """
        entry = self._entries.get(run_id) or _Entry()
        async with entry.lock:
            try:
                state = entry.state = await self._advance(run_id, plan, entry.state)
            except BaseException:
                # A fold that stopped half-way has changed the state in place: it is of no use any more.
                entry.state = None
                self._entries.pop(run_id)
                raise
        self._entries.put(run_id, entry, _weight(state))
        return state

    async def _advance(self, run_id: str, plan: Plan, state: RunState | None) -> RunState:
        state = state or fold(plan, (), run_id=run_id)
        while True:
            page = await self._journal.events(run_id, state.head, PAGE)
            state = fold(plan, page, state)
            if len(page) < PAGE:
                return state


def _weight(state: RunState) -> int:
    return sum(1 + (step.items.total if step.items else 0) for step in state.steps.values())
