"""What happens when a tick comes while a run of the same schedule has not ended: one table, asked inside the transaction that starts the run."""

from dataclasses import dataclass
from enum import StrEnum

MAX_BUFFER = 1000
"""Ticks of one schedule that may wait for a run to end."""


class Overlap(StrEnum):
    """What a tick does while a run of its schedule has not ended."""

    SKIP = "skip"
    """Nothing starts."""
    BUFFER_ONE = "buffer_one"
    """It waits for the run to end; one tick may wait."""
    BUFFER_ALL = "buffer_all"
    """It waits for all before it; at most MAX_BUFFER wait."""
    CANCEL_OTHER = "cancel_other"
    """The run is canceled, and the tick starts as soon as it has ended; a newer tick replaces the one that waits."""
    ALLOW_ALL = "allow_all"
    """It starts beside the others."""


class TickOutcome(StrEnum):
    """What became of a tick."""

    STARTED = "started"
    SKIPPED = "skipped"
    BUFFERED = "buffered"
    MISSED = "missed"
    FAILED = "failed"


class Reason(StrEnum):
    """Why a tick was not started when it was due."""

    OVERLAP = "overlap"
    """A run of the schedule had not ended."""
    BUFFER_FULL = "buffer_full"
    """A run had not ended, and as many ticks as may wait were waiting."""
    SUPERSEDED = "superseded"
    """A newer tick took its place while it waited for a canceled run."""
    LATE = "late"
    """Nobody was there to start it before the catch-up window was over."""
    CHANGED = "changed"
    """It was due and not started yet when the schedule was paused or given other times."""
    REFUSED = "refused"
    """The run could not be started; the error says why."""
    BACKFILL = "backfill"
    """Somebody asked for it afterwards; it waits for its turn."""


@dataclass(frozen=True, slots=True)
class Decision:
    """`cancel`: ask the runs that have not ended to end. `replace`: what waits gives way."""

    outcome: TickOutcome
    reason: Reason | None = None
    cancel: bool = False
    replace: bool = False


def decide(overlap: Overlap, running: int, waiting: int) -> Decision:
    """What to do with a tick while `running` runs have not ended and `waiting` ticks wait for them."""
    if overlap is Overlap.ALLOW_ALL or not (running or waiting):
        return Decision(TickOutcome.STARTED)
    if overlap is Overlap.SKIP:
        return Decision(TickOutcome.SKIPPED, Reason.OVERLAP)
    if overlap is Overlap.CANCEL_OTHER:
        return Decision(TickOutcome.BUFFERED, Reason.OVERLAP, cancel=True, replace=True)
    room = 1 if overlap is Overlap.BUFFER_ONE else MAX_BUFFER
    if waiting >= room:
        return Decision(TickOutcome.SKIPPED, Reason.BUFFER_FULL)
    return Decision(TickOutcome.BUFFERED, Reason.OVERLAP)
