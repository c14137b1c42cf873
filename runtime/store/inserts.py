"""New runs, row by row."""

from collections.abc import Iterable, Sequence

from sqlalchemy import Connection, insert, select

from runtime.store.columns import any_of
from runtime.store.operations import PreparedRun
from runtime.store.refs import note_refs
from runtime.store.tables import events, run_labels, runs

_EXISTING = select(runs.c.run_id).where(any_of(runs.c.run_id, "ids"))
_INSERT_RUN = insert(runs)
_INSERT_EVENT = insert(events)
_INSERT_LABEL = insert(run_labels)


def existing(connection: Connection, run_ids: Iterable[str]) -> set[str]:
    """Which of these runs are already there."""
    ids = list(run_ids)
    return set(connection.scalars(_EXISTING, {"ids": ids})) if ids else set()


def insert_runs(connection: Connection, fresh: Sequence[PreparedRun]) -> None:
    """Insert runs with their first events: all with limits of concurrency, or all without."""
    if not fresh:
        return
    connection.execute(_INSERT_RUN, [run.row for run in fresh])
    note_refs(connection, [ref for run in fresh for ref in run.refs])
    rows = [row for run in fresh for row in run.events]
    if rows:
        connection.execute(_INSERT_EVENT, rows)
    labels = [row for run in fresh for row in run.labels]
    if labels:
        connection.execute(_INSERT_LABEL, labels)
