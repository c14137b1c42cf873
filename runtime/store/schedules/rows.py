"""Rows of schedules and ticks to the dataclasses of the protocol, and back."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import literal_column

from runtime.schedules.overlap import Overlap, Reason, TickOutcome
from runtime.store.codec import from_text, from_text_or_none, to_text, to_text_or_none
from runtime.store.schedules.protocol import ScheduleRow, TickRow
from runtime.store.tables import schedule_ticks, schedules

_SCHEDULE = tuple(ScheduleRow.__dataclass_fields__)
_TICK = tuple(TickRow.__dataclass_fields__)
SCHEDULE_COLUMNS = tuple(schedules.c[name] for name in _SCHEDULE)
"""The columns `schedule_from` reads."""
# Written out, not bound: only so can a database see that the partial indexes of the table hold all it asks for.
IS_BUFFERED = schedule_ticks.c.outcome == literal_column(f"'{TickOutcome.BUFFERED.value}'")
IS_NOT_MISSED = schedule_ticks.c.outcome != literal_column(f"'{TickOutcome.MISSED.value}'")
TICK_COLUMNS = tuple(schedule_ticks.c[name] for name in _TICK)
"""The columns `tick_from` reads."""


def schedule_from(row: Sequence[Any]) -> ScheduleRow:
    """A schedule from SCHEDULE_COLUMNS."""
    values = dict(zip(_SCHEDULE, row, strict=True))
    return ScheduleRow(**{**values, "spec": from_text(values["spec"]), "paused": bool(values["paused"]), "error": from_text_or_none(values["error"])})


def schedule_values(row: ScheduleRow) -> dict[str, Any]:
    """The inverse of `schedule_from`."""
    values = {name: getattr(row, name) for name in _SCHEDULE}
    return {**values, "spec": to_text(row.spec), "error": to_text_or_none(row.error)}


def tick_from(row: Sequence[Any]) -> TickRow:
    """A tick from TICK_COLUMNS."""
    values = dict(zip(_TICK, row, strict=True))
    values["outcome"] = TickOutcome(values["outcome"])
    values["reason"] = None if values["reason"] is None else Reason(values["reason"])
    values["overlap"] = None if values["overlap"] is None else Overlap(values["overlap"])
    values["error"] = from_text_or_none(values["error"])
    return TickRow(**values)
