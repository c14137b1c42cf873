"""Kept answers of models as rows of `cached_calls`."""

from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import Connection, and_, bindparam, delete, func, select, tuple_
from sqlalchemy.dialects.postgresql import insert as upsert

from runtime.store.cached_call_protocol import CachedCall
from runtime.store.operations import Work
from runtime.store.reader import Reader
from runtime.store.tables import cached_calls
from runtime.store.writer import Writer

PORTION = 250
"""Rows deleted in one transaction."""

T = TypeVar("T")
_COLUMNS = ("tenant", "digest", "workflow", "model", "created_at", "expires_at", "answer")
_KEY = (cached_calls.c.tenant, cached_calls.c.digest)
_FIND = select(*(cached_calls.c[name] for name in _COLUMNS)).where(
    cached_calls.c.tenant == bindparam("b_tenant"), cached_calls.c.digest == bindparam("b_digest"), cached_calls.c.expires_at > bindparam("b_now")
)
_ADD = upsert(cached_calls)
_PUT = _ADD.on_conflict_do_update(
    index_elements=["tenant", "digest"],
    set_={name: _ADD.excluded[name] for name in ("workflow", "model", "created_at", "expires_at", "size", "answer")},
    # A clock that was put back, or an answer that took longer, must not hide a later one.
    where=cached_calls.c.created_at <= _ADD.excluded.created_at,
)
_SIZE = select(func.count(), func.coalesce(func.sum(cached_calls.c.size), 0)).where(cached_calls.c.tenant == bindparam("b_tenant"))
_BYTES = select(func.coalesce(func.sum(cached_calls.c.size), 0))
_EXPIRED = select(*_KEY).where(cached_calls.c.expires_at <= bindparam("b_now")).limit(PORTION).with_for_update(skip_locked=True)
_OLDEST = select(*_KEY).order_by(cached_calls.c.created_at).limit(PORTION).with_for_update(skip_locked=True)


class SqlCachedCalls:
    """Implements `cached_call_protocol.CachedCalls`, which documents every method."""

    def __init__(self, writer: Writer, reader: Reader) -> None:
        self._writer = writer
        self._reader = reader

    async def find(self, tenant: str, digest: str, now: int) -> CachedCall | None:
        return await self._reader.read(lambda connection: find(connection, tenant, digest, now))

    async def keep(self, call: CachedCall) -> None:
        await self._write(lambda connection: keep(connection, call))

    async def size(self, tenant: str) -> tuple[int, int]:
        return await self._reader.read(lambda connection: size(connection, tenant))

    async def clear(self, tenant: str, workflow: str | None = None) -> int:
        gone = 0
        while some := await self._write(lambda connection: clear_some(connection, tenant, workflow)):
            gone += some
        return gone

    async def _write(self, function: Callable[[Connection], T]) -> T:
        return await self._writer.write(Work(function))


def find(connection: Connection, tenant: str, digest: str, now: int) -> CachedCall | None:
    row = connection.execute(_FIND, {"b_tenant": tenant, "b_digest": digest, "b_now": now}).first()
    return None if row is None else CachedCall(*row)


def keep(connection: Connection, call: CachedCall) -> None:
    connection.execute(_PUT, {**{name: getattr(call, name) for name in _COLUMNS}, "size": len(call.answer.encode())})


def size(connection: Connection, tenant: str) -> tuple[int, int]:
    """Entries and bytes."""
    entries, total = connection.execute(_SIZE, {"b_tenant": tenant}).one()
    return int(entries), int(total)


def clear_some(connection: Connection, tenant: str, workflow: str | None) -> int:
    """Delete a portion of a tenant's answers; how many."""
    these = cached_calls.c.tenant == tenant
    if workflow is not None:
        these = and_(these, cached_calls.c.workflow == workflow)
    some = select(*_KEY).where(these).limit(PORTION).with_for_update(skip_locked=True)
    return connection.execute(delete(cached_calls).where(tuple_(*_KEY).in_(some))).rowcount


def expired(connection: Connection, now: int) -> int:
    """Delete a portion of what has expired (ms); how many."""
    return connection.execute(delete(cached_calls).where(tuple_(*_KEY).in_(_EXPIRED)), {"b_now": now}).rowcount


def total_bytes(connection: Connection) -> int:
    """Of all tenants."""
    return int(connection.execute(_BYTES).scalar_one())


def oldest(connection: Connection) -> int:
    """Delete a portion of what has been there longest; how many."""
    return connection.execute(delete(cached_calls).where(tuple_(*_KEY).in_(_OLDEST))).rowcount
