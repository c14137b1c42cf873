"""What people do to schedules: put, pause, delete, and ask for ticks of the past."""

from collections.abc import Callable, Sequence

from sqlalchemy import Connection, delete, insert, select, update

from runtime.errors import LimitExceeded, NotFound, VersionChanged
from runtime.schedules.overlap import MAX_BUFFER, Overlap, Reason, TickOutcome
from runtime.store.schedules.protocol import Change, ScheduleRow, TickRow
from runtime.store.schedules.reads import waiting_of
from runtime.store.schedules.records import record, record_gap, record_of, settle
from runtime.store.schedules.rows import SCHEDULE_COLUMNS, schedule_from, schedule_values
from runtime.store.tables import runs, schedule_ticks, schedules

_FREE = (TickOutcome.SKIPPED, TickOutcome.FAILED)
"""Outcomes after which a tick may be asked for again."""


class ChangeSchedule:
    """One `Schedules.change`. When an earlier try was committed without our hearing of it, its row is found as it was written."""

    def __init__(self, tenant: str, name: str, edit: Callable[[ScheduleRow | None], Change]) -> None:
        self._tenant, self._name, self._edit = tenant, name, edit
        self._written: ScheduleRow | None = None

    def __call__(self, connection: Connection) -> ScheduleRow:
        before = _locked(connection, self._tenant, self._name)
        if before is not None and before == self._written:
            return before
        change = self._edit(before)
        self._written = change.row
        if before is None:
            connection.execute(insert(schedules), schedule_values(change.row))
            return change.row
        if change.gap is not None:
            record_gap(connection, before, change.gap, change.row.updated_at)
        connection.execute(update(schedules).where(schedules.c.schedule_id == before.schedule_id).values(schedule_values(change.row)))
        return change.row


def remove(connection: Connection, tenant: str, name: str, if_match: str | None) -> bool:
    """Carry out `Schedules.delete`."""
    row = _locked(connection, tenant, name)
    if row is None:
        return False
    if if_match is not None and if_match != row.etag:
        raise VersionChanged("the schedule has changed in the meantime")
    connection.execute(delete(schedule_ticks).where(schedule_ticks.c.schedule_id == row.schedule_id))
    connection.execute(delete(schedules).where(schedules.c.schedule_id == row.schedule_id))
    return True


def backfill(connection: Connection, schedule_id: str, ticks: Sequence[tuple[int, int]], overlap: Overlap, now: int) -> list[TickRow]:
    """Carry out `Schedules.backfill`."""
    if connection.execute(select(schedules.c.schedule_id).where(schedules.c.schedule_id == schedule_id).with_for_update()).first() is None:
        raise NotFound("the schedule is gone")
    known = {tick: record_of(connection, schedule_id, tick) for tick, _ in ticks}
    times = select(runs.c.schedule_tick, runs.c.run_id).where(runs.c.schedule_id == schedule_id, runs.c.schedule_tick.in_([tick for tick, _ in ticks]))
    started = {row.schedule_tick: row.run_id for row in connection.execute(times)}
    wanted = sum(1 for tick, row in known.items() if tick not in started and (row is None or row.outcome in _FREE))
    if wanted + waiting_of(connection, schedule_id) > MAX_BUFFER:
        raise LimitExceeded(f"at most {MAX_BUFFER} ticks of a schedule may wait; ask for fewer, or wait until some have started")
    done = []
    for tick, due_at in ticks:
        row = known[tick]
        if row is None and tick in started:
            row = record(connection, schedule_id, tick, due_at, now, TickOutcome.STARTED, run_id=started[tick])
        elif row is None:
            row = record(connection, schedule_id, tick, due_at, now, TickOutcome.BUFFERED, reason=Reason.BACKFILL, overlap=overlap)
        elif row.outcome in _FREE and tick not in started:
            row = settle(connection, row, now, TickOutcome.BUFFERED, reason=Reason.BACKFILL, overlap=overlap)
        done.append(row)
    return done


def _locked(connection: Connection, tenant: str, name: str) -> ScheduleRow | None:
    found = connection.execute(select(*SCHEDULE_COLUMNS).where(schedules.c.tenant == tenant, schedules.c.name == name).with_for_update()).first()
    return None if found is None else schedule_from(found)
