"""Counting, exactly once: each change of a total stands in the transaction that also notes that it was made.

The end of a run is counted from its row, whoever wrote it: an owner, the mailbox of a run nobody owned, the removal that comes too early.
A process's batch is added once, however often it is sent. Two hubs, of two clusters on one database, add up side by side.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from pydantic_core import from_json, to_json
from sqlalchemy import Connection, bindparam, delete, exists, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert

from runtime.metrics import Amounts, Batch, Key, Values, run_ended
from runtime.store.columns import any_of
from runtime.store.metric_tables import metric_sources, metric_totals
from runtime.store.operations import Work
from runtime.store.reader import Reader
from runtime.store.tables import UNCOUNTED, runs
from runtime.store.writer import Writer

PORTION = 250
"""Ends counted in one transaction: whoever writes beside it waits for one portion at most."""
FORGET_MS = 7 * 86_400_000
"""After so long without a word no process sends its last batch again."""

_COLUMNS = (runs.c.run_id, runs.c.workflow, runs.c.status, runs.c.mode, runs.c.created_at, runs.c.started_at, runs.c.ended_at)
_ENDED = select(*_COLUMNS).where(text(UNCOUNTED)).limit(PORTION).with_for_update(skip_locked=True)
_NAMED = select(*_COLUMNS).where(any_of(runs.c.run_id, "ids"), text(UNCOUNTED))
_ANY = select(exists().where(text(UNCOUNTED)).select_from(runs))
_MARK = update(runs).where(any_of(runs.c.run_id, "ids")).values(counted=True)

_ADD = upsert(metric_totals)
_PLUS = _ADD.on_conflict_do_update(index_elements=["metric", "labels"], set_={"value": metric_totals.c.value + _ADD.excluded.value})
_TOTALS = select(metric_totals.c.metric, metric_totals.c.labels, metric_totals.c.value)

_NOTE = upsert(metric_sources)
# Atomic: of two transactions with one batch, the second waits for the first and then changes nothing.
_NOTE_NEW = _NOTE.on_conflict_do_update(
    index_elements=["source"],
    set_={"number": _NOTE.excluded.number, "seen_at": _NOTE.excluded.seen_at},
    where=metric_sources.c.number < _NOTE.excluded.number,
).returning(metric_sources.c.source)
_OLD = delete(metric_sources).where(metric_sources.c.seen_at < bindparam("before"))


class SqlCounts:
    """The totals of all metrics."""

    def __init__(self, writer: Writer, reader: Reader) -> None:
        self._writer = writer
        self._reader = reader
        self._values: Values | None = None

    async def add(self, batch: Batch, now: int) -> int:
        """Add what a process reports, once; the number up to which its batches are added. Raises StoreUnavailable: then it is to be sent again."""
        if batch.amounts:
            values = await self._told_apart()
            await self._writer.write(Work(lambda connection: add_batch(connection, batch, values, now)))
        return batch.number

    async def count_ends(self) -> int:
        """Count runs that have ended since the last time; how many. Costs one look at an empty index when there are none."""
        count, values = 0, await self._told_apart()
        while await self._reader.read(lambda connection: bool(connection.scalar(_ANY))):
            counted = await self._writer.write(Work(lambda connection: count_ended(connection, values)))
            if not counted:
                break  # somebody else has them in hand
            count += counted
        return count

    async def totals(self) -> Amounts:
        """All there is, over all processes and times."""
        return await self._reader.read(read_totals)

    async def _told_apart(self) -> Values:
        if self._values is None:
            self._values = Values(await self.totals())
        return self._values


def add_batch(connection: Connection, batch: Batch, values: Values, now: int) -> None:
    """Add a batch unless it has been added."""
    connection.execute(_OLD, {"before": now - FORGET_MS})
    if connection.execute(_NOTE_NEW, {"source": batch.source, "number": batch.number, "seen_at": now}).first() is not None:
        _plus(connection, [((metric, labels), amount) for metric, labels, amount in batch.amounts], values)


def count_ended(connection: Connection, values: Values | None = None) -> int:
    """Count a portion of the runs that have ended; how many."""
    return _count(connection, connection.execute(_ENDED).all(), values)


def count_named(connection: Connection, run_ids: Sequence[str]) -> None:
    """Count those of these runs that are not counted yet: they are about to go. The caller holds their locks."""
    _count(connection, connection.execute(_NAMED, {"ids": list(run_ids)}).all(), None)


def read_totals(connection: Connection) -> dict[Key, float]:
    return {(metric, tuple(from_json(labels))): value for metric, labels, value in connection.execute(_TOTALS)}


def _count(connection: Connection, found: Sequence[Any], values: Values | None) -> int:
    if found:
        ends = [run_ended(row.workflow, row.status, row.mode, (row.ended_at - (row.started_at or row.created_at)) / 1000) for row in found]
        _plus(connection, [each for end in ends for each in end.items()], values or Values(read_totals(connection)))
        connection.execute(_MARK, {"ids": [row.run_id for row in found]})
    return len(found)


def _plus(connection: Connection, amounts: Sequence[tuple[Key, float]], values: Values) -> None:
    sums: dict[Key, float] = defaultdict(float)
    for key, amount in amounts:
        sums[values.bounded(key)] += amount
    # In one order everywhere, so that two hubs never wait for each other in a circle.
    rows = [{"metric": metric, "labels": to_json(labels).decode(), "value": value} for (metric, labels), value in sorted(sums.items())]
    if rows:
        connection.execute(_PLUS, rows)
