"""Reads of schedules."""

from sqlalchemy import Connection, and_, bindparam, exists, func, literal_column, or_, select

from runtime.schedules.overlap import Overlap, TickOutcome
from runtime.store.schedules.protocol import Agenda, ScheduleRow, Standing, TickRow
from runtime.store.schedules.rows import IS_BUFFERED, SCHEDULE_COLUMNS, TICK_COLUMNS, schedule_from, tick_from
from runtime.store.tables import runs, schedule_ticks, schedules

RUNNING_SHOWN = 100

_DUE = select(*SCHEDULE_COLUMNS).where(schedules.c.next_at <= bindparam("now")).order_by(schedules.c.next_at).limit(bindparam("limit"))
_NEXT = select(func.min(schedules.c.next_at)).where(schedules.c.next_at > bindparam("now"))
_earlier = schedule_ticks.alias("earlier")
_FIRST = ~exists().where(
    _earlier.c.schedule_id == schedule_ticks.c.schedule_id,
    _earlier.c.outcome == literal_column(f"'{TickOutcome.BUFFERED.value}'"),
    _earlier.c.tick < schedule_ticks.c.tick,
)
_OPEN = and_(runs.c.schedule_id == schedule_ticks.c.schedule_id, runs.c.ended_at.is_(None))
_MAY_START = or_(schedule_ticks.c.overlap == Overlap.ALLOW_ALL.value, and_(_FIRST, ~exists().where(_OPEN)))
# What somebody asked for explicitly starts although the schedule is paused.
_AWAKE = or_(schedules.c.paused.is_(False), schedule_ticks.c.overlap.is_not(None))
_READY = (
    select(*SCHEDULE_COLUMNS, *TICK_COLUMNS)
    .join(schedules, schedules.c.schedule_id == schedule_ticks.c.schedule_id)
    .where(IS_BUFFERED, _AWAKE, _MAY_START)
    .order_by(schedule_ticks.c.schedule_id, schedule_ticks.c.tick)
    .limit(bindparam("limit"))
)
_TICKS = select(*TICK_COLUMNS).where(schedule_ticks.c.schedule_id == bindparam("schedule")).order_by(schedule_ticks.c.id.desc()).limit(bindparam("limit"))
# Without an order, which would tempt a planner to read all runs the schedule ever had.
_RUNNING = select(runs.c.run_id).where(runs.c.schedule_id == bindparam("schedule"), runs.c.ended_at.is_(None))
_WAITING = select(func.count()).select_from(schedule_ticks).where(schedule_ticks.c.schedule_id == bindparam("schedule"), IS_BUFFERED)


_ANY_WAITING = select(exists().where(IS_BUFFERED))


def read_schedule(connection: Connection, tenant: str, name: str) -> ScheduleRow | None:
    row = connection.execute(select(*SCHEDULE_COLUMNS).where(schedules.c.tenant == tenant, schedules.c.name == name)).first()
    return None if row is None else schedule_from(row)


def list_schedules(connection: Connection, tenant: str, after: str | None, limit: int) -> list[ScheduleRow]:
    """By name."""
    found = select(*SCHEDULE_COLUMNS).where(schedules.c.tenant == tenant)
    if after is not None:
        found = found.where(schedules.c.name > after)
    return [schedule_from(row) for row in connection.execute(found.order_by(schedules.c.name).limit(limit))]


def read_agenda(connection: Connection, now: int, limit: int) -> Agenda:
    """A few short queries, each served by an index over what is due or waits; with neither they read nothing."""
    due = [schedule_from(row) for row in connection.execute(_DUE, {"now": now, "limit": limit})]
    width = len(SCHEDULE_COLUMNS)
    ready = [(schedule_from(row[:width]), tick_from(row[width:])) for row in connection.execute(_READY, {"limit": limit})]
    waiting = bool(ready) or bool(connection.scalar(_ANY_WAITING))
    return Agenda(due, ready, connection.scalar(_NEXT, {"now": now}), waiting)


def list_ticks(connection: Connection, schedule_id: str, before: int | None, limit: int) -> list[TickRow]:
    """Newest first."""
    found = _TICKS if before is None else _TICKS.where(schedule_ticks.c.id < before)
    return [tick_from(row) for row in connection.execute(found, {"schedule": schedule_id, "limit": limit})]


def read_standing(connection: Connection, schedule_id: str) -> Standing:
    running = connection.scalars(_RUNNING.limit(RUNNING_SHOWN), {"schedule": schedule_id}).all()
    return Standing(tuple(sorted(running)), connection.scalar(_WAITING, {"schedule": schedule_id}) or 0)


def open_runs_of(connection: Connection, schedule_id: str) -> list[str]:
    """All runs of a schedule that have not ended."""
    return sorted(connection.scalars(_RUNNING, {"schedule": schedule_id}))


def waiting_of(connection: Connection, schedule_id: str) -> int:
    """How many ticks wait."""
    return connection.scalar(_WAITING, {"schedule": schedule_id}) or 0
