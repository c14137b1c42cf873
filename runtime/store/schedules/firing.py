"""Firing: the decision about a tick, its run, its record and the schedule's move are one transaction under the schedule's lock.

Three things keep a tick from starting twice: the lock with the guard (`next_tick` must be the tick), the tick's own record, and the unique
index over (schedule, tick) of runs, which holds even where the first two were lost.
"""

from dataclasses import replace

from sqlalchemy import Connection, bindparam, select, update

from runtime.schedules.overlap import Decision, Overlap, Reason, TickOutcome, decide
from runtime.store.inserts import insert_runs
from runtime.store.newcomers import refusal
from runtime.store.operations import Deliver, PreparedRun
from runtime.store.protocol import Message, MessageKind, SendOutcome
from runtime.store.schedules.protocol import Fired, Firing, Gap, ScheduleRow, Step, TickRow
from runtime.store.schedules.reads import open_runs_of, waiting_of
from runtime.store.schedules.records import record, record_gap, record_of, settle
from runtime.store.schedules.rows import IS_BUFFERED, SCHEDULE_COLUMNS, TICK_COLUMNS, schedule_from, schedule_values, tick_from
from runtime.store.slots import Slots
from runtime.store.tables import runs, schedule_ticks, schedules
from runtime.store.turns import change_runs

_NO_SLOT = {"code": refusal().code, "message": str(refusal())}
# Whoever finds the row locked leaves it alone: the other one is doing the same.
_LOCK = select(*SCHEDULE_COLUMNS).where(schedules.c.schedule_id == bindparam("schedule")).with_for_update(skip_locked=True)
_WRITE = update(schedules).where(schedules.c.schedule_id == bindparam("b_id"))
_MOVE = _WRITE.values({name: bindparam(name) for name in ("last_tick", "next_tick", "next_at", "error")})
_RUN_OF = select(runs.c.run_id).where(runs.c.schedule_id == bindparam("schedule"), runs.c.schedule_tick == bindparam("at"))
_WAITING_TICK = select(*TICK_COLUMNS).where(schedule_ticks.c.id == bindparam("row"), IS_BUFFERED)
_WAITING_TICKS = select(*TICK_COLUMNS).where(schedule_ticks.c.schedule_id == bindparam("schedule"), IS_BUFFERED, schedule_ticks.c.overlap.is_(None))


def fire(connection: Connection, firing: Firing, run: PreparedRun | None) -> Fired | None:
    """Carry out `Schedules.fire`."""
    row = _guarded(connection, firing.step)
    if row is None:
        return None
    known = record_of(connection, row.schedule_id, firing.step.tick) or _run_without_record(connection, firing)
    fired = Fired(known) if known is not None else _decided(connection, firing, run)
    _move(connection, row, firing.step, last=firing.step.tick)
    return fired


def pass_over(connection: Connection, step: Step, gap: Gap) -> bool:
    """Carry out `Schedules.pass_over`."""
    row = _guarded(connection, step)
    if row is None:
        return False
    record_gap(connection, row, gap, step.now)
    _move(connection, row, step, last=gap.last)
    return True


def delay(connection: Connection, step: Step, error: dict[str, object]) -> bool:
    """Carry out `Schedules.delay`."""
    row = _guarded(connection, step)
    if row is None:
        return False
    values = schedule_values(replace(row, next_at=step.next_at, error=error))
    connection.execute(_MOVE, {"b_id": row.schedule_id, **{name: values[name] for name in ("last_tick", "next_tick", "next_at", "error")}})
    return True


def release(connection: Connection, tick: TickRow, run: PreparedRun | None, error: dict[str, object] | None, now: int) -> Fired | None:
    """Carry out `Schedules.release`."""
    row = connection.execute(_LOCK, {"schedule": tick.schedule_id}).first()
    waiting = connection.execute(_WAITING_TICK, {"row": tick.id}).first()
    if row is None or waiting is None:
        return None
    if run is None:
        return Fired(settle(connection, tick, now, TickOutcome.FAILED, reason=Reason.REFUSED, error=error))
    alone = tick.overlap is not Overlap.ALLOW_ALL
    if alone and open_runs_of(connection, tick.schedule_id):
        return None
    run_id = connection.scalar(_RUN_OF, {"schedule": tick.schedule_id, "at": tick.tick})
    if run_id is None:
        let_in, news = _insert(connection, run)
        if not let_in:
            return Fired(settle(connection, tick, now, TickOutcome.FAILED, reason=Reason.REFUSED, error=_NO_SLOT))
        return Fired(settle(connection, tick, now, TickOutcome.STARTED, run_id=run.new.row.run_id), news)
    return Fired(settle(connection, tick, now, TickOutcome.STARTED, run_id=run_id), (run_id,))


def _guarded(connection: Connection, step: Step) -> ScheduleRow | None:
    """The schedule, locked, if it still stands where the caller believes."""
    found = connection.execute(_LOCK, {"schedule": step.schedule_id}).first()
    row = None if found is None else schedule_from(found)
    return row if row is not None and row.next_tick == step.tick and row.etag == step.etag and not row.paused else None


def _run_without_record(connection: Connection, firing: Firing) -> TickRow | None:
    """A run that was started for this tick although nothing is recorded of it: it is the tick's run."""
    step = firing.step
    run_id = connection.scalar(_RUN_OF, {"schedule": step.schedule_id, "at": step.tick})
    return None if run_id is None else record(connection, step.schedule_id, step.tick, firing.due_at, step.now, TickOutcome.STARTED, run_id=run_id)


def _decided(connection: Connection, firing: Firing, run: PreparedRun | None) -> Fired:
    step = firing.step
    if run is None:
        failed = record(connection, step.schedule_id, step.tick, firing.due_at, step.now, TickOutcome.FAILED, reason=Reason.REFUSED, error=firing.error)
        return Fired(failed)
    running = open_runs_of(connection, step.schedule_id)
    decision = decide(firing.overlap, len(running), waiting_of(connection, step.schedule_id))
    nudge: list[str] = []
    if decision.cancel:
        still = _cancel(connection, firing, running)
        nudge += still
        _replace(connection, firing)
        decision = decision if still else Decision(TickOutcome.STARTED)
    run_id = None
    if decision.outcome is TickOutcome.STARTED:
        let_in, news = _insert(connection, run)
        nudge += news
        if not let_in:
            failed = record(connection, step.schedule_id, step.tick, firing.due_at, step.now, TickOutcome.FAILED, reason=Reason.REFUSED, error=_NO_SLOT)
            return Fired(failed, tuple(nudge))
        run_id = run.new.row.run_id
    row = record(connection, step.schedule_id, step.tick, firing.due_at, step.now, decision.outcome, reason=decision.reason, run_id=run_id)
    return Fired(row, tuple(nudge))


def _insert(connection: Connection, run: PreparedRun) -> tuple[bool, tuple[str, ...]]:
    """Insert the run, with a slot or in line for one; whether its limits of concurrency let it in, and who has to hear of it."""
    if not run.limited:
        insert_runs(connection, [run])
        return True, (run.new.row.run_id,)
    slots = Slots()
    slots.arrive([run])
    slots.settle(connection)
    return not slots.refused, (run.new.row.run_id, *slots.news)


def _cancel(connection: Connection, firing: Firing, running: list[str]) -> list[str]:
    """Ask runs to end, as a user would; those that will still need a moment."""
    body = {"reason": "a newer tick of its schedule has come", "by": firing.by}
    letters = [Deliver(Message(run_id, "cancel", MessageKind.CANCEL, body, firing.step.now)) for run_id in running]
    slots = Slots()
    change_runs(connection, [], letters, slots)
    slots.settle(connection)
    return [letter.mail.message.run_id for letter in letters if letter.outcome in (SendOutcome.ACCEPTED, SendOutcome.DUPLICATE)]


def _replace(connection: Connection, firing: Firing) -> None:
    """What waits gives way to the newer tick; what somebody asked for explicitly stays."""
    for found in connection.execute(_WAITING_TICKS, {"schedule": firing.step.schedule_id}).all():
        settle(connection, tick_from(found), firing.step.now, TickOutcome.SKIPPED, reason=Reason.SUPERSEDED)


def _move(connection: Connection, row: ScheduleRow, step: Step, *, last: int) -> None:
    values = {"last_tick": max(last, row.last_tick or 0), "next_tick": step.next_tick, "next_at": step.next_at, "error": None}
    connection.execute(_MOVE, {"b_id": row.schedule_id, **values})
