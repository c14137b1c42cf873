"""The shapes of answers about schedules; see `answers.py`."""

from typing import Literal

from pydantic import AwareDatetime

from runtime.api.answers import Answer, Json, NextPage, Object
from runtime.schedules.overlap import Overlap, Reason, TickOutcome


class Schedule(Answer):
    """A schedule as lists show it."""

    schedule_id: str
    name: str
    workflow: str
    version: str | None
    cron: list[str]
    interval: str | None
    timezone: str
    start_at: AwareDatetime | None
    end_at: AwareDatetime | None
    jitter: str
    catchup: str
    overlap: Overlap
    inputs: dict[str, Json]
    tick_input: str | None
    labels: dict[str, str]
    priority: int
    mode: Literal["live", "simulated"] | None
    explained: list[str]
    """Each rule in English."""
    paused: bool
    note: str | None
    etag: str
    created_at: AwareDatetime
    updated_at: AwareDatetime
    last_tick: AwareDatetime | None
    """The latest tick that was decided."""
    next_tick: AwareDatetime | None
    next_at: AwareDatetime | None
    """When the next tick may start, jitter included."""
    error: Object | None
    """Why the next tick, though due, could not be started yet."""


class ScheduleDetail(Schedule):
    """A schedule and what is under way."""

    running: list[str]
    """Its runs that have not ended, at most 100."""
    waiting: int
    """Ticks that wait for a run to end."""


class Schedules(Answer):
    """A page of schedules, by name."""

    schedules: list[Schedule]
    next_page_token: NextPage


class Tick(Answer):
    """What became of a tick; of missed ones, a row may speak of several."""

    tick: AwareDatetime
    last_tick: AwareDatetime
    """The last of the `count` missed ticks; else the tick itself."""
    count: int
    due_at: AwareDatetime
    outcome: TickOutcome
    reason: Reason | None
    backfill: bool
    """Somebody asked for it afterwards."""
    run_id: str | None
    error: Object | None
    recorded_at: AwareDatetime
    settled_at: AwareDatetime
    """When it came to the present outcome."""


class Ticks(Answer):
    """A page of ticks, the latest record first."""

    ticks: list[Tick]
    next_page_token: NextPage


class Backfilled(Answer):
    """The ticks of the range as they stand now."""

    ticks: list[Tick]


class UpcomingTick(Answer):
    """A tick to come."""

    tick: AwareDatetime
    due_at: AwareDatetime


class Upcoming(Answer):
    """The next ticks."""

    upcoming: list[UpcomingTick]
