"""When a schedule ticks: pure arithmetic on milliseconds, without I/O and without a clock.

A tick is a point in time named by the schedule itself; `due_at` is when it may start, which is later by the jitter.
Cron follows the wall clock of its zone as Debian's cron does: a time that is skipped in spring comes as soon as the gap is over, a time that
comes twice in autumn ticks once, and `*` fields tick through both hours. Intervals count real time from `start_at`, or from the Unix epoch.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from heapq import merge
from itertools import count

from runtime.schedules.cron import times
from runtime.schedules.zones import zone

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class Timing:
    """What decides about ticks. Times and durations are ms; `start_at` and `end_at` are themselves still inside."""

    cron: tuple[str, ...] = ()
    interval: int | None = None
    timezone: str = "UTC"
    start_at: int | None = None
    end_at: int | None = None
    jitter: int = 0


def ticks(timing: Timing, after: int) -> Iterator[int]:
    """All ticks later than `after`, in order, each once; may be endless."""
    if timing.start_at is not None:
        after = max(after, timing.start_at - 1)
    sources = [_cron_ticks(timing, expression, after) for expression in timing.cron]
    if timing.interval is not None:
        anchor = timing.start_at or 0
        sources.append(count(anchor + ((after - anchor) // timing.interval + 1) * timing.interval, timing.interval))
    for tick in merge(*sources):
        if timing.end_at is not None and tick > timing.end_at:
            return
        if tick > after:
            yield tick
            after = tick


def next_tick(timing: Timing, after: int) -> int | None:
    """The first tick later than `after`, None when there is no more."""
    return next(ticks(timing, after), None)


def due_at(timing: Timing, schedule_id: str, tick: int, following: int | None) -> int:
    """When `tick` may start: always the same for the same schedule and tick, never before it, and always before `following`."""
    span = timing.jitter if following is None else min(timing.jitter, following - tick)
    if span <= 0:
        return tick
    drawn = int.from_bytes(hashlib.sha256(f"{schedule_id}:{tick}".encode()).digest()[:8])
    return tick + drawn * span // 2**64


def planned(timing: Timing, schedule_id: str, after: int) -> tuple[int | None, int | None]:
    """The first tick later than `after` and when it is due."""
    tick = next_tick(timing, after)
    return (None, None) if tick is None else (tick, due_at(timing, schedule_id, tick, next_tick(timing, tick)))


def _cron_ticks(timing: Timing, expression: str, after: int) -> Iterator[int]:
    """The ticks of one expression. In the repeated hour cronsim may begin with times of the hour before, which are left out."""
    local = (_EPOCH + timedelta(milliseconds=after)).astimezone(zone(timing.timezone))
    for found in times(expression, local):
        tick = (found - _EPOCH) // _MS
        if tick > after:
            yield tick
            after = tick
