"""Owners: one row per process that may own runs. Beats show that it lives; nobody's wall clock takes part."""

from collections.abc import Sequence

from sqlalchemy import Connection, bindparam, delete, exists, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from runtime.store.columns import any_of
from runtime.store.held import hold
from runtime.store.operations import Beat
from runtime.store.protocol import OwnerRow
from runtime.store.tables import owners, runs

_FIELDS = tuple(OwnerRow.__dataclass_fields__)
_REGISTER = upsert(owners).on_conflict_do_nothing(index_elements=["owner"])
_BEAT = update(owners).where(owners.c.owner == bindparam("b_owner")).values(beat=owners.c.beat + 1, draining=bindparam("b_draining"))
_OWNERS = select(*(owners.c[name] for name in _FIELDS)).order_by(owners.c.started_at, owners.c.owner)
_BURY = delete(owners).where(any_of(owners.c.owner, "dead"))
# Also frees what any earlier burial left behind: a run whose owner has no row belongs to nobody.
_LEFT_BEHIND = runs.c.owner.is_not(None) & ~exists().where(owners.c.owner == runs.c.owner)
_FIND_RUNS = select(runs.c.run_id).where(_LEFT_BEHIND)
_FREE_RUNS = update(runs).where(any_of(runs.c.run_id, "ids"), _LEFT_BEHIND)
_SUSPECT = update(runs).where(any_of(runs.c.run_id, "ids"), runs.c.ended_at.is_(None)).values(deaths=runs.c.deaths + 1)
_MAKE_CLAIMABLE = _FREE_RUNS.values(owner=None, wake_at=bindparam("b_now"))


def register(connection: Connection, row: OwnerRow, suspects: Sequence[str]) -> None:
    """Insert an owner, and put a death on the account of the runs its predecessor died of; a repeated registration changes nothing."""
    fresh = connection.execute(_REGISTER, {name: getattr(row, name) for name in _FIELDS}).rowcount > 0
    if fresh and suspects:
        connection.execute(_SUSPECT, {"ids": list(hold(connection, suspects))})


def beat_owners(connection: Connection, operations: Sequence[Beat]) -> None:
    """Raise the counters of these owners. They come last in a transaction, in one order, so that nothing waits behind them."""
    for operation in sorted(operations, key=lambda each: each.owner):
        result = connection.execute(_BEAT, {"b_owner": operation.owner, "b_draining": operation.draining})
        operation.outcome = result.rowcount > 0


def read_owners(connection: Connection) -> list[OwnerRow]:
    """All owners, oldest first."""
    return [OwnerRow(*row) for row in connection.execute(_OWNERS)]


def bury(connection: Connection, dead: Sequence[str], now: int) -> int:
    """Remove owners and free their runs. Once its row is locked and gone, an owner that still lives can claim nothing more."""
    connection.execute(_BURY, {"dead": sorted(dead)})
    held = hold(connection, connection.scalars(_FIND_RUNS).all())
    if not held:
        return 0
    # Between finding and locking another process may have taken some of them: the conditions are asked again.
    return connection.execute(_MAKE_CLAIMABLE, {"ids": list(held), "b_now": now}).rowcount
