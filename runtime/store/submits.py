"""Submit: idempotency keys first, then the runs nobody has inserted yet."""

from collections.abc import Iterable, Sequence

from sqlalchemy import Connection, bindparam, select, tuple_
from sqlalchemy.dialects.postgresql import insert as upsert

from runtime.errors import ConcurrencyLimit, IdempotencyMismatch, NotFound
from runtime.store.codec import plain_text
from runtime.store.columns import any_of
from runtime.store.inserts import existing, insert_runs
from runtime.store.operations import PreparedRun, Row, SubmitRuns
from runtime.store.protocol import Idempotency, Submitted
from runtime.store.slots import Slots
from runtime.store.tables import idem, runs

Keys = dict[tuple[str, str], tuple[str, str]]
"""(tenant, key) → (run id, fingerprint)"""

# The PostgreSQL construct compiles to the same ON CONFLICT clause on SQLite. An expired key is free again.
_new_key = upsert(idem)
_TAKE_KEY = _new_key.on_conflict_do_update(
    index_elements=["tenant", "key"],
    set_={name: _new_key.excluded[name] for name in ("fingerprint", "run_id", "created_at", "expires_at")},
    where=idem.c.expires_at <= _new_key.excluded.created_at,
)
_KEYS = select(idem.c.tenant, idem.c.key, idem.c.run_id, idem.c.fingerprint).where(tuple_(idem.c.tenant, idem.c.key).in_(bindparam("keys", expanding=True)))
# Locked against being removed until the fork, which names what its source named, is there.
_SOURCES = select(runs.c.run_id).where(any_of(runs.c.run_id, "ids")).order_by(runs.c.run_id).with_for_update(read=True, key_share=True)


def submit_runs(connection: Connection, operations: Sequence[SubmitRuns], slots: Slots) -> None:
    """Insert the runs of all submits. Keys come before any other lock and in one order, so that submits cannot deadlock."""
    wanted = [run for operation in operations for run in operation.runs]
    keys = _take_keys(connection, [run for run in wanted if run.new.idempotency])
    known = existing(connection, [run.new.row.run_id for run in wanted])
    sources = _hold_sources(connection, wanted)
    fresh: list[PreparedRun] = []
    for operation in operations:
        new: list[PreparedRun] = []
        try:
            operation.outcome = [_place(run, keys, known, new, sources, retried=operation.tentative is not None) for run in operation.runs]
        except IdempotencyMismatch as error:
            if len(operation.runs) > 1:
                raise  # some of its keys may have been taken: only a rollback gives them back
            operation.outcome = error
        if any(run.limited for run in new):
            slots.arrive(new, operation)  # inserted last of all, once it is known who gets a slot
        else:
            fresh += new
    insert_runs(connection, fresh)


def _hold_sources(connection: Connection, wanted: Iterable[PreparedRun]) -> set[str]:
    """The runs that these are forked from, as far as they are still there."""
    ids = sorted({run.new.row.forked_from for run in wanted if run.new.row.forked_from is not None})
    return set(connection.scalars(_SOURCES, {"ids": ids})) if ids else set()


def check_referred(operations: Sequence[SubmitRuns], refused: set[str]) -> None:
    """Raises ConcurrencyLimit when a submit was led by its key to a run of another one that was then refused: each has to be tried alone."""
    for operation in operations:
        if refused and isinstance(operation.outcome, list) and not refused.isdisjoint(each.run_id for each in operation.outcome):
            raise ConcurrencyLimit("a run with the same idempotency key was refused", retry_after=1)


def _place(run: PreparedRun, keys: Keys, known: set[str], fresh: list[PreparedRun], sources: set[str], *, retried: bool) -> Submitted:
    run_id = run.new.row.run_id
    if run.new.idempotency is not None:
        winner, fingerprint = keys[_key(run, run.new.idempotency)]
        if fingerprint != run.new.idempotency.fingerprint:
            raise IdempotencyMismatch("this idempotency key was used before with another payload")
        if winner != run_id:
            return Submitted(winner, created=False)
    if run_id in known:
        return Submitted(run_id, created=retried)
    source = run.new.row.forked_from
    if source is not None and source not in sources:
        raise NotFound(f"there is no run {source}", run_id=source)  # by a rollback: its key was taken above
    known.add(run_id)
    fresh.append(run)
    return Submitted(run_id, created=True)


def _key(run: PreparedRun, idempotency: Idempotency) -> tuple[str, str]:
    return (run.new.row.tenant, plain_text(idempotency.key))


def _take_keys(connection: Connection, wanted: list[PreparedRun]) -> Keys:
    """Take every key that is free; say who has which."""
    rows: dict[tuple[str, str], Row] = {}
    for run in wanted:
        if run.new.idempotency is None:
            continue
        tenant, key = _key(run, run.new.idempotency)
        rows.setdefault(
            (tenant, key),
            {
                "tenant": tenant,
                "key": key,
                "fingerprint": run.new.idempotency.fingerprint,
                "run_id": run.new.row.run_id,
                "created_at": run.new.row.created_at,
                "expires_at": run.new.idempotency.expires_at,
            },
        )
    if not rows:
        return {}
    connection.execute(_TAKE_KEY, [rows[key] for key in sorted(rows)])
    found = connection.execute(_KEYS, {"keys": sorted(rows)})
    return {(tenant, key): (run_id, fingerprint) for tenant, key, run_id, fingerprint in found}
