"""Looking at runs: rows, steps, items, events, and waiting for what comes."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any

from runtime.engine.events import Event
from runtime.engine.state import Items, RunState, StepState
from runtime.engine.states import StepStatus
from runtime.errors import NotFound
from runtime.gateway.base import Base
from runtime.gateway.feeds import LONGEST_DELAY
from runtime.gateway.pauses import Pauses
from runtime.gateway.runner import UNTIL_END
from runtime.store.protocol import RunQuery, RunRow

KEEP_ALIVE_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Item:
    """One element of a map, as people see it. `due` (ms) is when a retry begins."""

    index: int
    status: StepStatus
    attempt: int
    output: Any = None
    error: dict[str, Any] | None = None
    due: int | None = None


class Reads(Base):
    """What readers do. Nothing here writes."""

    async def runs(self, tenant: str, query: RunQuery) -> list[RunRow]:
        """A page of runs, newest first. The query's tenant is always the caller's."""
        return await self.journal.runs(replace(query, tenant=tenant))

    async def wait(self, tenant: str, run_id: str, timeout: float, *, known: RunRow | None = None) -> RunRow:
        """The run's row as soon as it has ended, or as it is after `timeout` seconds; `known` is what the caller has just seen. Raises NotFound."""
        deadline = self.clock.monotonic() + timeout
        row = await self.run(tenant, run_id) if known is None else known
        pauses = Pauses(self.clock, longest=LONGEST_DELAY / 4)
        while not row.status.ended and (left := deadline - self.clock.monotonic()) > 0:
            async with pauses.at_least(left):
                await self.runner.watch(run_id, UNTIL_END, left)
            row = await self.run(tenant, run_id)
        return row

    async def position(self, row: RunRow) -> int | None:
        """The place of a run that waits for a slot among those of its key, from 1; None when it does not wait for one."""
        return await self.journal.place_in_line(row.run_id) if row.lined_up else None

    async def created(self, row: RunRow) -> Event:
        """The run's first event: its inputs, seed and origin."""
        return (await self.journal.events(row.run_id, 0, 1))[0]

    async def events(self, tenant: str, run_id: str, *, after: int = 0, limit: int = 100) -> list[Event]:
        """A page of the journal after seq `after`. Raises NotFound."""
        await self.run(tenant, run_id)
        return await self.journal.events(run_id, after, limit)

    async def follow(self, tenant: str, run_id: str, *, after: int = 0, idle: float = KEEP_ALIVE_SECONDS) -> AsyncGenerator[list[Event], None]:
        """Batches of events after seq `after` as they are committed, without gap or repeat, until the run's last event.

        An empty batch every `idle` seconds without events lets the caller show that it lives. Raises NotFound.
        """
        await self.run(tenant, run_id)
        async with aclosing(self.feeds.follow(run_id, after, idle)) as batches:
            async for batch in batches:
                yield batch

    async def state(self, tenant: str, run_id: str) -> RunState:
        """The fold of the run's journal, to be read before the next await. Raises NotFound."""
        row = await self.run(tenant, run_id)
        return await self._folds.state(run_id, await self.plan(row))

    async def steps(self, tenant: str, run_id: str) -> dict[str, StepState]:
        """All steps in the order of the plan, `finally` last. Raises NotFound."""
        state = await self.state(tenant, run_id)
        return {name: state.steps[name] for name in (*state.plan.main, *state.plan.final)}

    async def step(self, tenant: str, run_id: str, step: str) -> tuple[StepState, str]:
        """One step and its kind. Raises NotFound."""
        state = await self.state(tenant, run_id)
        return _step(state, step), state.plan.steps[step].kind.value

    async def items(self, tenant: str, run_id: str, step: str, *, status: str | None = None, after: int = -1, limit: int = 100) -> list[Item]:
        """A page of a map's items by index, from the one after `after`; with `status` only those. Raises NotFound."""
        found = _step(await self.state(tenant, run_id), step)
        if found.items is None:
            return []
        page: list[Item] = []
        for index in _candidates(found.items, status, after):
            item = _item(found, found.items, index)
            if status is None or item.status == status:
                page.append(item)
                if len(page) == limit:
                    break
        return page


def _step(state: RunState, step: str) -> StepState:
    try:
        return state.steps[step]
    except KeyError:
        raise NotFound(f"the run has no step {step[:100]}", run_id=state.run_id) from None


def _candidates(items: Items, status: str | None, after: int) -> Any:
    """The indices worth looking at: few for the rare states, all for the common ones."""
    rare: dict[str | None, Any] = {StepStatus.FAILED: items.failed, StepStatus.RUNNING: items.running}
    rare |= {StepStatus.WAITING: items.asking, StepStatus.RETRYING: items.retrying}
    if status in rare:
        return sorted(index for index in rare[status] if index > after)
    return range(after + 1, items.total)


def _item(step: StepState, items: Items, index: int) -> Item:
    attempt = items.attempts[index]
    if index in items.finished:
        return Item(index, StepStatus.SUCCEEDED, attempt, output=items.outputs[index])
    if index in items.failed:
        return Item(index, StepStatus.FAILED, attempt, error=items.failed[index])
    if step.status.ended:
        return Item(index, StepStatus.CANCELED, attempt)
    if index in items.retrying:
        return Item(index, StepStatus.RETRYING, attempt, due=items.retrying[index])
    if index in items.asking:
        return Item(index, StepStatus.WAITING, attempt)
    return Item(index, StepStatus.RUNNING if index in items.running else StepStatus.PENDING, attempt)
