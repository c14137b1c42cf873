"""The records of ticks: one row for each tick, one for each stretch of missed ones."""

from typing import Any

from sqlalchemy import Connection, Delete, bindparam, delete, insert, select, update

from runtime.schedules.overlap import Overlap, Reason, TickOutcome
from runtime.store.codec import to_text_or_none
from runtime.store.schedules.protocol import Gap, ScheduleRow, TickRow
from runtime.store.schedules.rows import IS_NOT_MISSED, TICK_COLUMNS, tick_from
from runtime.store.tables import schedule_ticks

KEPT = 10_000
"""Rows kept per schedule; a run that is kept stands for its tick however long ago it was."""
_TRIM_EVERY = 100

_OF_TICK = select(*TICK_COLUMNS).where(schedule_ticks.c.schedule_id == bindparam("schedule"), schedule_ticks.c.tick == bindparam("at"), IS_NOT_MISSED)
_LATEST = select(*TICK_COLUMNS).where(schedule_ticks.c.schedule_id == bindparam("schedule")).order_by(schedule_ticks.c.id.desc()).limit(1)
_BY_ID = select(*TICK_COLUMNS).where(schedule_ticks.c.id == bindparam("row"))
_INSERT = insert(schedule_ticks)
_UPDATE = update(schedule_ticks).where(schedule_ticks.c.id == bindparam("b_id"))
_SETTLE = _UPDATE.values({name: bindparam(name) for name in ("outcome", "reason", "overlap", "run_id", "error", "settled_at")})
_EXTEND = _UPDATE.values(last_tick=bindparam("last_tick"), count=schedule_ticks.c.count + bindparam("more"), settled_at=bindparam("settled_at"))


def trim(kept: int) -> Delete:
    """Remove all rows of schedule `b_schedule` but the newest `kept` and what still waits."""
    oldest = select(schedule_ticks.c.id).where(schedule_ticks.c.schedule_id == bindparam("b_schedule")).order_by(schedule_ticks.c.id.desc())
    return delete(schedule_ticks).where(
        schedule_ticks.c.schedule_id == bindparam("b_schedule"),
        schedule_ticks.c.id <= oldest.limit(1).offset(kept).scalar_subquery(),
        schedule_ticks.c.outcome != TickOutcome.BUFFERED.value,
    )


_TRIM = trim(KEPT)


def record_of(connection: Connection, schedule_id: str, tick: int) -> TickRow | None:
    """What was recorded of a tick, unless it was only missed."""
    row = connection.execute(_OF_TICK, {"schedule": schedule_id, "at": tick}).first()
    return None if row is None else tick_from(row)


def record(
    connection: Connection,
    schedule_id: str,
    tick: int,
    due_at: int,
    now: int,
    outcome: TickOutcome,
    *,
    reason: Reason | None = None,
    overlap: Overlap | None = None,
    run_id: str | None = None,
    error: dict[str, Any] | None = None,
) -> TickRow:
    """Write a new row for one tick."""
    values = {"reason": reason, "overlap": overlap, "run_id": run_id, "error": to_text_or_none(error), "recorded_at": now, "settled_at": now}
    place = {"schedule_id": schedule_id, "tick": tick, "last_tick": tick, "count": 1, "due_at": due_at, "outcome": outcome.value}
    row_id = _insert(connection, schedule_id, {**place, **values})
    return TickRow(row_id, schedule_id, tick, tick, 1, due_at, outcome, reason, overlap, run_id, error, now, now)


def settle(
    connection: Connection,
    row: TickRow,
    now: int,
    outcome: TickOutcome,
    *,
    reason: Reason | None = None,
    overlap: Overlap | None = None,
    run_id: str | None = None,
    error: dict[str, Any] | None = None,
) -> TickRow:
    """Change what became of a tick."""
    values = {"outcome": outcome.value, "reason": reason, "overlap": overlap, "run_id": run_id, "error": to_text_or_none(error), "settled_at": now}
    connection.execute(_SETTLE, {"b_id": row.id, **values})
    return tick_from(connection.execute(_BY_ID, {"row": row.id}).one())


def record_gap(connection: Connection, before: ScheduleRow, gap: Gap, now: int) -> None:
    """Record missed ticks; they join the row of those just before them."""
    latest = connection.execute(_LATEST, {"schedule": before.schedule_id}).first()
    row = None if latest is None else tick_from(latest)
    if row is not None and row.outcome is TickOutcome.MISSED and row.reason is gap.reason and row.last_tick == before.last_tick:
        connection.execute(_EXTEND, {"b_id": row.id, "last_tick": gap.last, "more": gap.count, "settled_at": now})
        return
    place = {"schedule_id": before.schedule_id, "tick": gap.first, "last_tick": gap.last, "count": gap.count, "due_at": gap.due_at}
    values = {"outcome": TickOutcome.MISSED.value, "reason": gap.reason.value, "recorded_at": now, "settled_at": now}
    _insert(connection, before.schedule_id, {**place, **values})


def _insert(connection: Connection, schedule_id: str, values: dict[str, Any]) -> int:
    row_id: int = connection.execute(_INSERT.returning(schedule_ticks.c.id), values).scalar_one()
    if row_id % _TRIM_EVERY == 0:
        connection.execute(_TRIM, {"b_schedule": schedule_id})
    return row_id
