"""Schedules under a clock that only moves when it is told: schedulers, people, and runs that end on request."""

from collections.abc import Sequence
from typing import Any

from runtime.artifacts.open import open_artifacts
from runtime.clock import rfc3339
from runtime.engine.events import Kind
from runtime.gateway import Gateway
from runtime.scheduling.scheduler import Scheduler
from runtime.scheduling.service import Scheduling
from runtime.settings import Settings
from runtime.store.open import Store
from runtime.store.protocol import AppendOutcome, RunQuery, RunRow
from runtime.store.schedules.protocol import ScheduleRow, TickRow
from tests.contract.store.desk import Desk, Hand

TENANT = "acme"
MINUTE, HOUR = 60_000, 3_600_000
NOON = 1_785_585_600_000
"""2026-08-01T12:00:00Z, a Saturday."""
FLOW = """
name: report
inputs:
  day: {type: string, default: none}
  size: {type: integer, default: 1}
steps:
  only: {set: {day: "${{ inputs.day }}"}}
"""


class HandClock:
    """A wall clock and a monotonic one, both moved by hand."""

    def __init__(self) -> None:
        self.ms = NOON
        self.seconds = 0.0

    def now(self) -> int:
        return self.ms

    def monotonic(self) -> float:
        return self.seconds

    def move(self, ms: int) -> None:
        """Time goes by."""
        self.ms += ms
        self.seconds += ms / 1000


class Idle:
    """A runner that turns nothing."""

    def __init__(self) -> None:
        self.nudged: list[str] = []

    def nudge(self, run_ids: Sequence[str]) -> None:
        self.nudged.extend(run_ids)

    async def watch(self, run_id: str, after: int, timeout: float) -> None:
        return

    async def metrics(self) -> bytes:
        return b""


class Bureau:
    """One process with a scheduler, as far as the database can tell."""

    def __init__(self, store: Store, settings: Settings, clock: HandClock | None = None) -> None:
        self.store = store
        self.clock = clock or HandClock()
        self.runner = Idle()
        self.gateway = Gateway(store.journal, store.catalog, open_artifacts(settings), self.runner, settings, self.clock)
        self.people = Scheduling(self.gateway, store.schedules)
        self.scheduler = Scheduler(self.gateway, store.schedules, self.clock)
        self.desk = Desk(store)

    async def put(self, name: str = "daily", **fields: Any) -> ScheduleRow:
        """A schedule of the `report` workflow, every minute unless said otherwise."""
        await self.gateway.publish(TENANT, FLOW)
        when = {} if "cron" in fields or "interval" in fields else {"cron": "* * * * *"}
        return await self.people.put(TENANT, {"workflow": "report", **when, **fields}, name=name)

    async def look(self, *, rounds: int = 10_000) -> float:
        """Look until nothing is left to do; how long the scheduler would sleep then."""
        for _ in range(rounds):
            seconds = await self.scheduler.look()
            if seconds > 0:
                return seconds
        raise AssertionError("there was always something to do")

    async def pass_time(self, ms: int, *, step: int = MINUTE) -> None:
        """Move the clock in steps and look after each."""
        for _ in range(ms // step):
            self.clock.move(step)
            await self.look()

    async def row(self, name: str = "daily") -> ScheduleRow:
        return await self.people.schedule(TENANT, name)

    async def ticks(self, name: str = "daily") -> list[TickRow]:
        """All that was recorded, oldest tick first."""
        return sorted(await self.people.ticks(TENANT, name, limit=1000), key=lambda row: (row.tick, row.id))

    async def outcomes(self, name: str = "daily") -> list[str]:
        """`+3 skipped overlap`: minutes after noon, outcome, reason."""
        return [_told(row) for row in await self.ticks(name)]

    async def runs(self) -> list[RunRow]:
        """All runs, by the tick they are for; those without one first."""
        return sorted(await self.store.journal.runs(RunQuery(TENANT, limit=1000)), key=lambda run: (run.schedule_tick or 0, run.run_id))

    async def own(self, run_id: str) -> Hand:
        """Claim a run and start it, as a host would."""
        await self.desk.owner()
        (claim,) = await self.store.journal.claim("host-1", 1, run_ids=[run_id], now=2**50)
        hand = Hand(self.store, claim.row)
        assert await hand.start() is AppendOutcome.COMMITTED
        return hand

    async def end(self, run_id: str) -> None:
        """A queued run is taken and succeeds."""
        assert await (await self.own(run_id)).end() is AppendOutcome.COMMITTED

    async def cancel(self, hand: Hand) -> None:
        """The owner of a run that was asked to end does so."""
        assert await hand.end(Kind.RUN_CANCELED) is AppendOutcome.COMMITTED


def _told(row: TickRow) -> str:
    minutes = (row.tick - NOON) / MINUTE
    parts = [f"{minutes:+g}", row.outcome.value, row.reason.value if row.reason else None, f"x{row.count}" if row.count > 1 else None]
    return " ".join(part for part in parts if part)


def at(minutes: float) -> str:
    """RFC 3339 of so many minutes after noon."""
    return rfc3339(round(NOON + minutes * MINUTE))
