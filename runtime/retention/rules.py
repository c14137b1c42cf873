"""From settings to rules: which runs may go at a given time."""

from collections.abc import Sequence

from runtime.engine.states import TERMINAL_RUN
from runtime.settings import Retention
from runtime.store.candidates import Rule

DAY_MS = 24 * 3_600_000
UNREAD_MS = 3_600_000
"""A run that ended less than this ago is never removed for its size: somebody may be about to read its result."""
ENDS = tuple(sorted(status.value for status in TERMINAL_RUN))


def by_age(retention: Retention, own_times: Sequence[int], now: int) -> list[Rule]:
    """Runs older than the settings allow, and than their own definitions allow where these say something. Times in ms."""
    general = [Rule(status, now - round(days * DAY_MS)) for status in ENDS if (days := getattr(retention, status)) is not None]
    return general + [Rule(status, now - own, keep_for=own) for own in own_times for status in ENDS]


def by_size(retention: Retention, own_times: Sequence[int], now: int) -> list[Rule]:
    """Runs that may go to make room, however young: all that are not kept for ever."""
    before = now - UNREAD_MS
    general = [Rule(status, before) for status in ENDS if getattr(retention, status) is not None]
    return general + [Rule(status, before, keep_for=own) for own in own_times for status in ENDS]


def by_hand(own_times: Sequence[int], before: int, statuses: Sequence[str] = (), workflow: str | None = None) -> list[Rule]:
    """Runs that ended before `before` (ms), whatever settings and definitions say: an operator has decided."""
    return [Rule(status, before, keep_for=own, workflow=workflow) for own in (None, *own_times) for status in statuses or ENDS]
