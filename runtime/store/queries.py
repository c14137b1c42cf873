"""The journal's reads."""

from collections.abc import Iterator

from sqlalchemy import ColumnElement, Connection, and_, bindparam, exists, func, or_, select, text

from runtime.engine.events import Event
from runtime.engine.states import TERMINAL_RUN
from runtime.store.codec import from_text, read_event
from runtime.store.protocol import ApprovalQuery, ApprovalRow, Message, MessageKind, RunQuery, RunRow
from runtime.store.rows import APPROVAL_COLUMNS, EVENT_COLUMNS, RUN_COLUMNS, approval_from, run_row
from runtime.store.slot_protocol import SLOT
from runtime.store.tables import LINED_UP, approvals, events, inbox, run_labels, runs

_RUN = select(*RUN_COLUMNS).where(runs.c.run_id == bindparam("run"))
_EVENTS = select(*EVENT_COLUMNS).where(events.c.run_id == bindparam("run"), events.c.seq > bindparam("after")).order_by(events.c.seq).limit(bindparam("limit"))
# The inbox is read by the index of unread messages, which is in the order of runs; `inbox_of` puts the few found in order of arrival.
# Driven from the few unread messages, not from the thousands of runs an owner may have.
_OWNED = exists().where(runs.c.run_id == inbox.c.run_id, runs.c.owner == bindparam("owner"))
_INBOX = (
    select(inbox.c.id, inbox.c.run_id, inbox.c.message_id, inbox.c.kind, inbox.c.body, inbox.c.at)
    .where(inbox.c.applied_seq.is_(None), _OWNED)
    .order_by(inbox.c.run_id, inbox.c.id)
)
_APPROVAL = select(*APPROVAL_COLUMNS).where(approvals.c.approval_id == bindparam("approval"))
_ACTIVE = select(func.count()).select_from(runs).where(runs.c.ended_at.is_(None))
_ENDED = frozenset(status.value for status in TERMINAL_RUN)


def read_run(connection: Connection, run_id: str) -> RunRow | None:
    row = connection.execute(_RUN, {"run": run_id}).first()
    return None if row is None else run_row(row)


def read_events(connection: Connection, run_id: str, after: int, limit: int) -> list[Event]:
    """Raises JournalDamaged."""
    return [read_event(run_id, row) for row in connection.execute(_EVENTS, {"run": run_id, "after": after, "limit": limit})]


def inbox_of(connection: Connection, owner: str) -> list[Message]:
    found = sorted(tuple(row) for row in connection.execute(_INBOX, {"owner": owner}))
    return [Message(run_id, message_id, MessageKind(kind), from_text(body), at) for _id, run_id, message_id, kind, body, at in found]


def count_active(connection: Connection) -> int:
    return connection.scalar(_ACTIVE) or 0


def list_runs(connection: Connection, query: RunQuery) -> list[RunRow]:
    found = select(*RUN_COLUMNS).where(*_conditions(query)).order_by(runs.c.run_id.desc()).limit(query.limit)
    return [run_row(row) for row in connection.execute(found)]


def _conditions(query: RunQuery) -> Iterator[ColumnElement[bool]]:
    """One for each field of the query that is given."""
    for column in (runs.c.tenant, runs.c.workflow, runs.c.owner, runs.c.isolation, runs.c.parent_run, runs.c.schedule_id):
        wanted = getattr(query, column.name)
        if wanted is not None:
            yield column == wanted
    if query.status:
        yield runs.c.status.in_(query.status)
        if not _ENDED.intersection(query.status):
            yield runs.c.ended_at.is_(None)  # implied, and lets the index of active runs serve
    if query.waiting_for is not None:
        yield and_(text(LINED_UP)) if query.waiting_for == SLOT else runs.c.waiting_for == query.waiting_for
    if query.claimable_at is not None:
        yield and_(runs.c.owner.is_(None), runs.c.wake_at <= query.claimable_at)
    for key, value in query.labels.items():
        yield exists().where(run_labels.c.run_id == runs.c.run_id, run_labels.c.key == key, run_labels.c.value == value)
    if query.created_after is not None:
        yield runs.c.created_at >= query.created_after
    if query.created_before is not None:
        yield runs.c.created_at < query.created_before
    if query.before is not None:
        yield runs.c.run_id < query.before


def read_approval(connection: Connection, approval_id: str) -> ApprovalRow | None:
    row = connection.execute(_APPROVAL, {"approval": approval_id}).first()
    return None if row is None else approval_from(row)


def list_approvals(connection: Connection, query: ApprovalQuery) -> list[ApprovalRow]:
    """A question of a run that has ended waits for nobody: it is no longer pending."""
    found = select(*APPROVAL_COLUMNS).join(runs, runs.c.run_id == approvals.c.run_id).where(runs.c.tenant == query.tenant)
    if query.pending:
        found = found.where(approvals.c.decided_at.is_(None), runs.c.ended_at.is_(None))
    if query.run_id is not None:
        found = found.where(approvals.c.run_id == query.run_id)
    if query.before is not None:
        mark = connection.execute(select(approvals.c.requested_at).where(approvals.c.approval_id == query.before)).scalar()
        earlier = and_(approvals.c.requested_at == mark, approvals.c.approval_id < query.before)
        found = found.where(or_(approvals.c.requested_at < mark, earlier))
    ordered = found.order_by(approvals.c.requested_at.desc(), approvals.c.approval_id.desc()).limit(query.limit)
    return [approval_from(row) for row in connection.execute(ordered)]
