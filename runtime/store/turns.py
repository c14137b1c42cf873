"""The transaction's changes to runs: turns of owners first, then mail from everybody else, all guarded under the runs' locks."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from sqlalchemy import Connection, bindparam, insert, select, update

from runtime.engine.states import RunStatus
from runtime.failpoints import ARMED, without
from runtime.store.columns import any_of
from runtime.store.conversations import add_exchanges
from runtime.store.held import Held, hold, write_back
from runtime.store.inserts import existing, insert_runs
from runtime.store.mail import Post, drop_unread, open_post
from runtime.store.operations import Deliver, Row, TakeRuns, WriteTurn
from runtime.store.outbox import announce
from runtime.store.points import renumber
from runtime.store.protocol import Append, AppendOutcome, Claim
from runtime.store.refs import Refs, note_refs
from runtime.store.settle import Decisions, approval_row, load_decisions
from runtime.store.slots import Slots
from runtime.store.tables import approvals, events, inbox

_INSERT_EVENT = insert(events)
_INSERT_APPROVAL = insert(approvals)
_EVENT_EPOCH = select(events.c.epoch).where(events.c.run_id == bindparam("run"), events.c.seq == bindparam("seq"))
_APPLY = (
    update(inbox)
    .where(inbox.c.run_id == bindparam("b_run_id"), inbox.c.message_id == bindparam("b_message_id"), inbox.c.applied_seq.is_(None))
    .values(applied_seq=bindparam("b_seq"))
)
_WAITING = select(inbox.c.run_id).distinct().where(any_of(inbox.c.run_id, "ids"), inbox.c.applied_seq.is_(None))


@dataclass(slots=True)
class Changes:
    """What one transaction is about to do, gathered in memory before anything is written."""

    connection: Connection
    slots: Slots
    held: dict[str, Held]
    post: Post
    decisions: Decisions
    events: list[Row] = field(default_factory=list)
    approvals: list[Row] = field(default_factory=list)
    applied: list[Row] = field(default_factory=list)
    turns: list[WriteTurn] = field(default_factory=list)
    refs: Refs = field(default_factory=list)


def change_runs(connection: Connection, turns: Sequence[WriteTurn], deliveries: Sequence[Deliver], slots: Slots) -> None:
    """Carry out all turns and deliveries of a batch. A refused one leaves no trace and does not touch the others."""
    if not turns and not deliveries:
        return
    mail = [letter for turn in turns for letter in turn.mail] + [delivery.mail for delivery in deliveries]
    held = hold(connection, [turn.append.run_id for turn in turns] + [letter.message.run_id for letter in mail])
    decisions = load_decisions(connection, turns, mail)
    changes = Changes(connection, slots, held, open_post(connection, mail, held, decisions), decisions)
    for turn in turns:
        turn.outcome = _take_turn(changes, turn)
    for turn in changes.turns:
        for letter in turn.mail:
            changes.post.deliver(letter)
    for delivery in deliveries:
        delivery.outcome = changes.post.deliver(delivery.mail, delivery.tentative)
    _write(changes)


def open_runs(connection: Connection, operations: Sequence[TakeRuns], slots: Slots) -> None:
    """The first turns of runs that were claimed a moment ago, for those who claim with `first`: one transaction instead of two."""
    for operation in operations:
        if operation.first is None or not isinstance(operation.outcome, list):
            continue
        opening = {claim.row.run_id: append for claim in operation.outcome if claim.opened is None and (append := operation.first(claim)) is not None}
        turns = {run_id: WriteTurn(append) for run_id, append in opening.items()}
        change_runs(connection, list(turns.values()), [], slots)
        operation.outcome = [_opened(claim, turns.get(claim.row.run_id)) for claim in operation.outcome]


def _opened(claim: Claim, turn: WriteTurn | None) -> Claim:
    return replace(claim, opened=turn.outcome) if turn is not None and isinstance(turn.outcome, AppendOutcome) else claim


def _take_turn(changes: Changes, turn: WriteTurn) -> AppendOutcome:
    append, run = turn.append, changes.held.get(turn.append.run_id)
    if run is None or _fenced(run, append):
        return _refused(changes, turn, run)
    if run.cancel_requested_at is not None and append.status.ended and append.status is not RunStatus.CANCELED and not without("cancel"):
        return AppendOutcome.CANCEL_FIRST
    if not append.status.ended and changes.decisions.contradicts(append):
        return AppendOutcome.CANCEL_FIRST
    if ARMED and without("head"):
        renumber(turn.rows, run.head)
    _change(run, turn)
    changes.turns.append(turn)
    changes.events.extend(turn.rows)
    changes.refs.extend(turn.refs)
    changes.applied.extend({"b_run_id": run.run_id, "b_message_id": message_id, "b_seq": run.head} for message_id in append.applied)
    for approval in append.approvals:
        if not changes.decisions.settle(approval):
            changes.approvals.append(approval_row(approval))
    return AppendOutcome.COMMITTED


def _fenced(run: Held, append: Append) -> bool:
    """Whether the run is no longer the caller's, or has ended. Epoch and head each alone would do; both stay."""
    if not ARMED:
        return run.epoch != append.epoch or run.head != append.head or run.ended or run.owner is None
    stale = (run.epoch != append.epoch and not without("epoch")) or (run.head != append.head and not without("head"))
    return stale or ((run.ended or run.owner is None) and not without("terminal"))


def _change(run: Held, turn: WriteTurn) -> None:
    append = turn.append
    run.changed = True
    run.status, run.waiting_for = append.status.value, append.waiting_for
    run.head += len(append.events)
    run.deaths = 0 if append.events and append.progress else run.deaths
    run.started_at = run.started_at if append.started_at is None else append.started_at
    run.result, run.error = turn.result, turn.error
    if append.status.ended:
        last = append.events[-1].at if append.events else None
        run.owner, run.wake_at, run.ended_at, run.moved = None, None, last if append.ended_at is None else append.ended_at, True
    elif append.release:
        run.owner, run.wake_at, run.moved = None, append.wake_at, True


def _refused(changes: Changes, turn: WriteTurn, run: Held | None) -> AppendOutcome:
    """Fenced, unless an earlier try of this very append was committed without our hearing of it."""
    append = turn.append
    if run is None or turn.tentative is not AppendOutcome.COMMITTED:
        return AppendOutcome.FENCED
    if not append.events:
        gone = run.epoch == append.epoch and run.owner is None
        return AppendOutcome.COMMITTED if gone else AppendOutcome.FENCED
    # Only the owner writes in its epoch, one append at a time: an event there of that epoch is this append's.
    epoch = changes.connection.scalar(_EVENT_EPOCH, {"run": append.run_id, "seq": append.head + 1})
    return AppendOutcome.COMMITTED if epoch == append.epoch else AppendOutcome.FENCED


def _write(changes: Changes) -> None:
    connection, post = changes.connection, changes.post
    rows = changes.events + post.events
    if rows:
        connection.execute(_INSERT_EVENT, rows)
        announce(connection, rows, lambda run_id: changes.held[run_id].status)
    add_exchanges(connection, [exchange for turn in changes.turns for exchange in turn.append.exchanges])
    note_refs(connection, changes.refs + post.refs)
    if changes.applied:
        connection.execute(_APPLY, changes.applied)
    post.write(connection)
    if changes.approvals:
        connection.execute(_INSERT_APPROVAL, changes.approvals)
    changes.decisions.write(connection)
    _insert_children(changes)
    _look_into_inboxes(changes)
    write_back(connection, changes.held.values())
    for run in changes.held.values():
        if run.slot_held and run.changed and run.ended and run.lane is not None:
            changes.slots.end(run.lane)


def _insert_children(changes: Changes) -> None:
    children = {child.new.row.run_id: child for turn in changes.turns for child in turn.children}
    if children:
        known = existing(changes.connection, children)
        fresh = [child for run_id, child in children.items() if run_id not in known]
        insert_runs(changes.connection, [child for child in fresh if not child.limited])
        changes.slots.arrive(child for child in fresh if child.limited)


def _look_into_inboxes(changes: Changes) -> None:
    """A run given up with unread mail is claimable at once; the mail of an ended run will never be read."""
    ended = [run.run_id for run in changes.held.values() if run.changed and run.ended]
    drop_unread(changes.connection, ended)
    released = {turn.append.run_id: turn for turn in changes.turns if turn.append.release and not turn.append.status.ended}
    if released:
        for run_id in changes.connection.scalars(_WAITING, {"ids": sorted(released)}):
            changes.held[run_id].wake(_now(released[run_id]))


def _now(turn: WriteTurn) -> int:
    """The latest time this turn knows of: claims compare `wake_at` with the clock of the same hosts."""
    return turn.append.events[-1].at if turn.append.events else 0
