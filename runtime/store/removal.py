"""Removing runs: first the row, and with it the run for everybody; then, in portions, what it leaves behind.

A run is removed only when it has ended and no run that still goes on needs it: neither its parent nor one of its children. A fork
needs nothing of its source: it has copied what it reuses, and notes for itself what that refers to.
Rows that have no run any more are listed in `removals` until the last of them is gone, so that a crash between two portions leaves
work for the next round and nothing else. No portion is larger than PORTION rows: whoever writes beside it waits for one at most.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Delete, Select, Table, bindparam, delete, exists, func, insert, select, tuple_

from runtime.money.scopes import Scope
from runtime.store.columns import any_of
from runtime.store.counting import count_named
from runtime.store.money_tables import budgets, reservations
from runtime.store.protocol import Removal
from runtime.store.tables import approvals, artifacts, events, idem, inbox, removals, run_labels, runs, value_refs

PORTION = 250
"""Rows deleted in one transaction."""
RUNS_AT_ONCE = 25
"""Runs removed in one transaction; each has a handful of rows beside its row."""

_LEAVES: tuple[Table, ...] = (events, inbox, approvals, artifacts, value_refs)
"""Tables with rows of a run that may be many."""

_other = runs.alias("other")
_PARENT_LIVES = exists().where(_other.c.run_id == runs.c.parent_run, _other.c.ended_at.is_(None))
_CHILD_LIVES = exists().where(_other.c.parent_run == runs.c.run_id, _other.c.ended_at.is_(None))
FREE: tuple[ColumnElement[bool], ...] = (runs.c.ended_at.is_not(None), ~_PARENT_LIVES, ~_CHILD_LIVES)
"""Runs that have ended and that no other run needs. Once true, it stays true."""

_NAMED = any_of(runs.c.run_id, "ids")
_HOLD: Select[Any] = select(runs.c.run_id, runs.c.head).where(_NAMED, *FREE).order_by(runs.c.run_id)
# Somebody else removes it already, or writes to it at this moment: the next round will see.
_HOLD_IDLE = _HOLD.with_for_update(skip_locked=True, of=runs)
_HOLD_SURELY = _HOLD.with_for_update(of=runs)
_ENDED = select(runs.c.ended_at).where(runs.c.run_id == bindparam("run"))
_LISTED = select(removals.c.run_id).where(any_of(removals.c.run_id, "ids"))
_LIST = insert(removals)
_DELETE_ROWS = (
    *(delete(table).where(any_of(table.c.run_id, "ids")) for table in (run_labels, idem, runs)),
    *(delete(table).where(table.c.scope == Scope.RUN.value, any_of(table.c.name, "ids")) for table in (budgets, reservations)),
)

_OPEN = select(removals.c.run_id).order_by(removals.c.run_id).limit(RUNS_AT_ONCE).with_for_update(skip_locked=True)
_OPEN_NAMED = select(removals.c.run_id).where(any_of(removals.c.run_id, "ids")).with_for_update(skip_locked=True)
_UNLIST = delete(removals).where(any_of(removals.c.run_id, "ids"))
_WEIGHT = select(func.coalesce(func.sum(func.length(events.c.body)), 0), func.count()).where(any_of(events.c.run_id, "ids"))

ROW_BYTES = 250
"""What a row of the journal takes besides its body: keys, indexes, a share of its run's row. Measured: 185 on SQLite, 345 on PostgreSQL."""


@dataclass(frozen=True, slots=True)
class Removed:
    """What was removed: runs, and the events of their journals."""

    run_ids: tuple[str, ...] = ()
    events: int = 0


def _portion(table: Table) -> Delete:
    """DELETE of at most `limit` rows of these runs, by primary key: neither database has a LIMIT for it that both understand."""
    key = list(table.primary_key.columns)
    some = select(*key).where(any_of(table.c.run_id, "ids")).limit(bindparam("limit"))
    return delete(table).where((tuple_(*key) if len(key) > 1 else key[0]).in_(some))


_PORTIONS = tuple(map(_portion, _LEAVES))


def remove_runs(connection: Connection, run_ids: Sequence[str]) -> Removed:
    """Remove those of these runs that are free; leaves what hangs on them to `clear_portion`."""
    held = connection.execute(_HOLD_IDLE, {"ids": list(run_ids)}).all()
    _remove(connection, [row.run_id for row in held])
    return Removed(tuple(row.run_id for row in held), sum(row.head for row in held))


def remove_run(connection: Connection, run_id: str) -> Removal:
    """Remove one run, because somebody asked for it. Asking again changes nothing."""
    if connection.execute(_HOLD_SURELY, {"ids": [run_id]}).first() is not None:
        _remove(connection, [run_id])
        return Removal.REMOVED
    found = connection.execute(_ENDED, {"run": run_id}).first()
    if found is not None:
        return Removal.ACTIVE if found.ended_at is None else Removal.NEEDED
    # A commit that was not confirmed is tried again: then the run is on the list already.
    return Removal.REMOVED if connection.scalar(_LISTED, {"ids": [run_id]}) else Removal.MISSING


def _remove(connection: Connection, run_ids: list[str]) -> None:
    if run_ids:
        count_named(connection, run_ids)
        connection.execute(_LIST, [{"run_id": run_id} for run_id in run_ids])
        for statement in _DELETE_ROWS:
            connection.execute(statement, {"ids": run_ids})


def clear_portion(connection: Connection, run_ids: Sequence[str] = ()) -> int:
    """Delete up to PORTION rows that removed runs have left, of these runs or of any; 0 when there is nothing left to do."""
    ids = list(connection.scalars(_OPEN_NAMED, {"ids": list(run_ids)}) if run_ids else connection.scalars(_OPEN))
    if not ids:
        return 0
    done = 0
    for statement in _PORTIONS:
        done += connection.execute(statement, {"ids": ids, "limit": PORTION - done}).rowcount
        if done >= PORTION:
            return done
    return done + connection.execute(_UNLIST, {"ids": ids}).rowcount


def weigh(connection: Connection, run_ids: Sequence[str]) -> tuple[int, int]:
    """Events of these runs, and how many bytes they take, about."""
    if not run_ids:
        return 0, 0
    bodies, count = connection.execute(_WEIGHT, {"ids": list(run_ids)}).one()
    return count, bodies + count * ROW_BYTES
