"""Claim: take runs over from nobody or from the dead. The claim is itself an event, so it moves both fences: epoch and head."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, bindparam, func, insert, or_, select, update

from runtime.engine.events import Event, Kind
from runtime.store.codec import event_row
from runtime.store.columns import any_of
from runtime.store.operations import TakeRuns, Wanted
from runtime.store.protocol import Claim
from runtime.store.rows import RUN_COLUMNS, journals, run_row
from runtime.store.tables import events, owners, runs

_JOURNAL_ALONG = 100
"""Events a claim brings along at most."""
MAX_SEEN = 10_000
"""Due runs among which a host that is nearly full is fair between workflows."""

_FREE = and_(runs.c.owner.is_(None), runs.c.wake_at <= bindparam("now"))
_SHARED = runs.c.isolation == "shared"


def _runs(*conditions: ColumnElement[bool]) -> Select[Any]:
    """Most urgent first, then longest due. Rows that another claimer has locked are skipped, never waited for."""
    ordered = select(*RUN_COLUMNS).where(*conditions).order_by(runs.c.priority.desc(), runs.c.wake_at, runs.c.run_id)
    return ordered.limit(bindparam("limit")).with_for_update(key_share=True, skip_locked=True)


_NAMED = _runs(any_of(runs.c.run_id, "ids"), or_(_FREE, any_of(runs.c.owner, "dead")))
_NAMED_SHARED = _runs(any_of(runs.c.run_id, "ids"), or_(_FREE, any_of(runs.c.owner, "dead")), _SHARED)
_ORPHANS = _runs(any_of(runs.c.owner, "dead"), _SHARED)
# One priority at a time: the index then yields due runs in order, however many sleep beside them.
_DUE = _runs(_SHARED, runs.c.priority == bindparam("priority"), _FREE)
# Each workflow's longest due run before any second one: asked only by a host that is nearly full, and only while more is due than it takes.
_LINE = select(runs.c.run_id, runs.c.tenant, runs.c.workflow, runs.c.wake_at).where(_SHARED, runs.c.priority == bindparam("priority"), _FREE)
_SEEN = _LINE.order_by(runs.c.wake_at, runs.c.run_id).limit(MAX_SEEN).subquery()
_TURN = func.row_number().over(partition_by=(_SEEN.c.tenant, _SEEN.c.workflow), order_by=(_SEEN.c.wake_at, _SEEN.c.run_id))
_IN_TURN = select(_SEEN.c.run_id).order_by(_TURN, func.random()).limit(bindparam("limit"))
_CHOSEN = _runs(any_of(runs.c.run_id, "ids"), _SHARED, _FREE)
_MINE = _runs(any_of(runs.c.run_id, "ids"), runs.c.owner == bindparam("me"))
_TOP_PRIORITY = select(runs.c.priority).where(_SHARED, runs.c.owner.is_(None), runs.c.wake_at.is_not(None)).order_by(runs.c.priority.desc()).limit(1)
_NEXT_PRIORITY = _TOP_PRIORITY.where(runs.c.priority < bindparam("above"))
_REGISTERED = select(owners.c.owner).where(any_of(owners.c.owner, "ids")).order_by(owners.c.owner).with_for_update(key_share=True)

_INSERT_EVENT = insert(events)
_TAKE = (
    update(runs).where(runs.c.run_id == bindparam("b_run_id")).values(epoch=bindparam("epoch"), owner=bindparam("owner"), head=bindparam("head"), wake_at=None)
)


def take_runs(connection: Connection, operations: Sequence[TakeRuns]) -> None:
    """Carry out all claims of a batch. An owner that is not registered, or was removed as dead, gets nothing."""
    if not operations:
        return
    # Locked before anything is taken: an owner that is being buried right now cannot take a run that nobody would free again.
    registered = set(connection.scalars(_REGISTERED, {"ids": sorted({operation.wanted.owner for operation in operations})}))
    for operation in operations:
        if operation.wanted.owner not in registered:
            operation.outcome = []
        else:
            operation.outcome = _confirmed(connection, operation) or _take(connection, operation.wanted)


def _confirmed(connection: Connection, operation: TakeRuns) -> list[Claim]:
    """Of an earlier try whose COMMIT was not confirmed: the claims that stand."""
    if not isinstance(operation.tentative, list) or not operation.tentative:
        return []
    ids = [claim.row.run_id for claim in operation.tentative]
    found = connection.execute(_MINE, {"ids": ids, "me": operation.wanted.owner, "limit": len(ids)})
    standing = {row.run_id: row.epoch for row in found}
    return [claim for claim in operation.tentative if standing.get(claim.row.run_id) == claim.row.epoch]


def _take(connection: Connection, wanted: Wanted) -> list[Claim]:
    rows = map(run_row, _find(connection, wanted))
    found = [replace(row, epoch=row.epoch + 1, head=row.head + 1, owner=wanted.owner, wake_at=None) for row in rows]
    if not found:
        return []
    connection.execute(_TAKE, [{"b_run_id": row.run_id, "epoch": row.epoch, "owner": row.owner, "head": row.head} for row in found])
    claimed = [Event(row.head, row.epoch, Kind.RUN_CLAIMED, wanted.now, body={"owner": wanted.owner}) for row in found]
    connection.execute(_INSERT_EVENT, [event_row(row.run_id, event) for row, event in zip(found, claimed, strict=True)])
    along = journals(connection, [row.run_id for row in found if row.head <= _JOURNAL_ALONG])
    return [Claim(row, along.get(row.run_id)) for row in found]


def _find(connection: Connection, wanted: Wanted) -> list[Sequence[Any]]:
    given = {"now": wanted.now, "dead": wanted.dead, "ids": wanted.run_ids, "limit": wanted.limit}
    if wanted.run_ids:
        return list(connection.execute(_NAMED_SHARED if wanted.shared else _NAMED, given))
    found: list[Sequence[Any]] = list(connection.execute(_ORPHANS, given)) if wanted.dead else []
    priority = connection.scalar(_TOP_PRIORITY)
    while priority is not None and len(found) < wanted.limit:
        due = {"now": wanted.now, "priority": priority, "limit": wanted.limit - len(found)}
        first: list[Sequence[Any]] = list(connection.execute(_DUE, due))
        found += _in_turn(connection, first, due) if wanted.fair and len(first) == due["limit"] else first
        priority = connection.scalar(_NEXT_PRIORITY, {"above": priority}) if len(found) < wanted.limit else None
    return found


def _in_turn(connection: Connection, first: list[Sequence[Any]], due: dict[str, Any]) -> list[Sequence[Any]]:
    """As many as `first`, but going round the workflows; of what another process has just locked, the first of all instead."""
    ids = connection.scalars(_IN_TURN, due).all()
    chosen: list[Sequence[Any]] = list(connection.execute(_CHOSEN, {**due, "ids": ids}))
    taken = {row[0] for row in chosen}
    return (chosen + [row for row in first if row[0] not in taken])[: due["limit"]]
