"""Conversations as rows: what agent steps of different runs have said, appended in the transactions of their successes."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, and_, bindparam, delete, insert, select, tuple_
from sqlalchemy.dialects.postgresql import insert as upsert

from runtime.store.codec import from_text, to_text
from runtime.store.conversation_protocol import ConversationRow, Exchange, NewExchange
from runtime.store.tables import conversations, exchanges

MAX_EXCHANGES = 1_000
"""Of one conversation; the oldest go when new ones come."""
PORTION = 250
"""Rows deleted in one transaction."""
_PAGE = 50

_THIS = and_(conversations.c.tenant == bindparam("b_tenant"), conversations.c.conversation == bindparam("b_name"))
_OF_THIS = and_(exchanges.c.tenant == bindparam("b_tenant"), exchanges.c.conversation == bindparam("b_name"))
_OPEN = upsert(conversations)
# The row is locked to the end of the transaction: whoever comes next in this conversation gets the next number.
_COUNT_UP = _OPEN.on_conflict_do_update(
    index_elements=["tenant", "conversation"], set_={"head": conversations.c.head + 1, "updated_at": _OPEN.excluded.updated_at}
).returning(conversations.c.head)
_ADD = insert(exchanges)
_TRIM = delete(exchanges).where(_OF_THIS, exchanges.c.seq <= bindparam("b_last"))
_READ = select(conversations.c.conversation, conversations.c.head, conversations.c.created_at, conversations.c.updated_at).where(_THIS)
_COLUMNS = select(exchanges.c.seq, exchanges.c.run_id, exchanges.c.step, exchanges.c.at, exchanges.c.messages).where(_OF_THIS)
_FORWARD = _COLUMNS.where(exchanges.c.seq > bindparam("b_seq")).order_by(exchanges.c.seq).limit(bindparam("b_limit"))
_BACKWARD = _COLUMNS.where(exchanges.c.seq < bindparam("b_seq")).order_by(exchanges.c.seq.desc()).limit(_PAGE)
_OLD = select(conversations.c.tenant, conversations.c.conversation).where(conversations.c.updated_at < bindparam("before")).limit(20)
_HOLD = select(conversations.c.head).where(_THIS, conversations.c.updated_at < bindparam("b_before")).with_for_update(skip_locked=True)
_KEY = (exchanges.c.tenant, exchanges.c.conversation, exchanges.c.seq)

_OLDEST = select(*_KEY).where(_OF_THIS).order_by(exchanges.c.seq).limit(bindparam("b_portion"))
_SOME = delete(exchanges).where(tuple_(*_KEY).in_(_OLDEST))
_CLOSE = delete(conversations).where(_THIS)
EVER = 2**62


def add_exchanges(connection: Connection, added: Sequence[NewExchange]) -> None:
    """Add these to their conversations, which begin with their first. In the order of names, so that nobody waits in a circle."""
    for one in sorted(added, key=lambda one: (one.tenant, one.conversation)):
        times = {"created_at": one.at, "updated_at": one.at}
        head = connection.execute(_COUNT_UP, {"tenant": one.tenant, "conversation": one.conversation, "head": 1, **times}).scalar_one()
        row = {"tenant": one.tenant, "conversation": one.conversation, "seq": head, "run_id": one.run_id, "step": one.step, "at": one.at}
        connection.execute(_ADD, {**row, "messages": to_text(list(one.messages))})
        if head > MAX_EXCHANGES:
            connection.execute(_TRIM, {"b_tenant": one.tenant, "b_name": one.conversation, "b_last": head - MAX_EXCHANGES})


def read(connection: Connection, tenant: str, name: str) -> ConversationRow | None:
    row = connection.execute(_READ, {"b_tenant": tenant, "b_name": name}).first()
    return None if row is None else ConversationRow(*row)


def page(connection: Connection, tenant: str, name: str, after: int, limit: int) -> list[Exchange]:
    given = {"b_tenant": tenant, "b_name": name, "b_seq": after, "b_limit": limit}
    return [_exchange(row) for row in connection.execute(_FORWARD, given)]


def latest(connection: Connection, tenant: str, name: str, most: int) -> list[Exchange]:
    found: list[Exchange] = []
    before, size = EVER, 0
    while True:
        rows = connection.execute(_BACKWARD, {"b_tenant": tenant, "b_name": name, "b_seq": before}).all()
        for row in rows:
            size += len(row.messages.encode())
            if size > most:
                return found[::-1]
            found.append(_exchange(row))
        if len(rows) < _PAGE:
            return found[::-1]
        before = rows[-1].seq


def old(connection: Connection, before: int) -> list[tuple[str, str]]:
    """Some (tenant, conversation) in which nothing was said since `before` (ms)."""
    return [(tenant, name) for tenant, name in connection.execute(_OLD, {"before": before})]


def remove_some(connection: Connection, tenant: str, name: str, before: int = EVER) -> int:
    """Delete a portion of a conversation in which nothing was said since `before` (ms); how many rows."""
    this = {"b_tenant": tenant, "b_name": name}
    if connection.execute(_HOLD, {**this, "b_before": before}).first() is None:
        return 0
    gone = connection.execute(_SOME, {**this, "b_portion": PORTION}).rowcount
    return gone if gone == PORTION else gone + connection.execute(_CLOSE, this).rowcount


def _exchange(row: Any) -> Exchange:
    return Exchange(row.seq, row.run_id, row.step, row.at, from_text(row.messages))
