"""The seam to the database for schedules. The rules of `runtime/store/protocol.py` hold here as well."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from runtime.schedules.overlap import Overlap, Reason, TickOutcome
from runtime.store.protocol import NewRun


@dataclass(frozen=True, slots=True)
class ScheduleRow:
    """A schedule and where it stands. Times are ms."""

    schedule_id: str
    tenant: str
    name: str
    workflow: str
    etag: str
    """Hash of `spec`."""
    spec: dict[str, Any]
    created_at: int
    updated_at: int
    paused: bool = False
    note: str | None = None
    last_tick: int | None = None
    """The latest tick that was decided; no tick up to it is decided again, whatever clocks do."""
    next_tick: int | None = None
    """The tick that comes next; every decision names it and is refused when it is another one by then. None: there is no more."""
    next_at: int | None = None
    """When to look at `next_tick`. None while paused, or when there is no more."""
    error: dict[str, Any] | None = None
    """Why `next_tick`, though due, could not be started yet."""


@dataclass(frozen=True, slots=True)
class TickRow:
    """What became of a tick, or of `count` missed ones from `tick` to `last_tick`."""

    id: int
    schedule_id: str
    tick: int
    last_tick: int
    count: int
    due_at: int
    outcome: TickOutcome
    reason: Reason | None
    overlap: Overlap | None
    """Of a tick that somebody asked for afterwards: what it does while other runs have not ended."""
    run_id: str | None
    error: dict[str, Any] | None
    recorded_at: int
    settled_at: int
    """When it came to the present outcome."""


@dataclass(frozen=True, slots=True)
class Gap:
    """Ticks that nobody started in time."""

    first: int
    last: int
    count: int
    due_at: int
    """When the first was due."""
    reason: Reason = Reason.LATE


@dataclass(frozen=True, slots=True)
class Change:
    """A schedule as it shall be, and the ticks this passes over."""

    row: ScheduleRow
    gap: Gap | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """A move of a schedule past `tick`. Refused unless `tick` is next, the schedule is not paused and `etag` is what it says by then."""

    schedule_id: str
    etag: str
    tick: int
    next_tick: int | None
    next_at: int | None
    now: int


@dataclass(frozen=True, slots=True)
class Firing:
    """One due tick: the run to start for it, or why there is none."""

    step: Step
    due_at: int
    overlap: Overlap
    run: NewRun | None = None
    error: dict[str, Any] | None = None
    by: str = ""
    """Who cancels other runs, as their journals will say."""


@dataclass(frozen=True, slots=True)
class Fired:
    """`nudge`: runs that have something to do now."""

    tick: TickRow
    nudge: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Agenda:
    """What there is to do: `due` schedules, and waiting ticks that are `ready` (with their schedules)."""

    due: list[ScheduleRow] = field(default_factory=list)
    ready: list[tuple[ScheduleRow, TickRow]] = field(default_factory=list)
    next_at: int | None = None
    """When (ms) the next schedule is due."""
    waiting: bool = False
    """Whether any tick waits, ready or not."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Runs of a schedule that have not ended (at most 100 of them), and how many ticks wait."""

    running: tuple[str, ...]
    waiting: int


class Schedules(Protocol):
    """Schedules and their ticks."""

    async def change(self, tenant: str, name: str, edit: Callable[[ScheduleRow | None], Change]) -> ScheduleRow:
        """Write what `edit` makes of the schedule as it stands under its lock (None: there is none).

        `edit` must be pure and quick, may be called on another thread, and more than once; what it raises is raised. Raises Conflict
        when another process makes a schedule of the same name at this very moment.
        """
        ...

    async def schedule(self, tenant: str, name: str) -> ScheduleRow | None: ...

    async def schedules(self, tenant: str, *, after: str | None = None, limit: int = 50) -> list[ScheduleRow]:
        """By name."""
        ...

    async def delete(self, tenant: str, name: str, *, if_match: str | None = None) -> bool:
        """Remove a schedule and what is recorded of its ticks; its runs stay. Raises VersionChanged."""
        ...

    async def agenda(self, now: int, limit: int) -> Agenda:
        """At most `limit` schedules and ticks to deal with at `now`."""
        ...

    async def fire(self, firing: Firing) -> Fired | None:
        """Decide a due tick, start its run and move the schedule on, in one transaction. None when somebody else has, or is about to."""
        ...

    async def pass_over(self, step: Step, gap: Gap) -> bool:
        """Record missed ticks and move the schedule past them. False when somebody else has moved it."""
        ...

    async def delay(self, step: Step, error: dict[str, Any]) -> bool:
        """Look at the tick again at `step.next_at`, and show why. False when somebody else has moved the schedule."""
        ...

    async def release(self, tick: TickRow, run: NewRun | None, error: dict[str, Any] | None, now: int) -> Fired | None:
        """Start the run of a tick that waited, or say why it cannot be started. None when it no longer waits, or still has to."""
        ...

    async def backfill(self, schedule_id: str, ticks: Sequence[tuple[int, int]], overlap: Overlap, now: int) -> list[TickRow]:
        """Let these (tick, due_at) wait for their turn, except those that wait or were started already. All as they stand afterwards.

        Raises LimitExceeded when more would wait than may, NotFound when the schedule is gone.
        """
        ...

    async def ticks(self, schedule_id: str, *, before: int | None = None, limit: int = 50) -> list[TickRow]:
        """What was recorded, newest first; at least the last 10,000 rows are kept."""
        ...

    async def standing(self, schedule_id: str) -> Standing: ...
