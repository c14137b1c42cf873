"""Rows to the dataclasses of the protocol."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, select

from runtime.engine.events import Event
from runtime.engine.states import RunStatus
from runtime.errors import JournalDamaged
from runtime.store.codec import from_text, from_text_or_none, read_event
from runtime.store.columns import any_of
from runtime.store.protocol import ApprovalRow, RunRow
from runtime.store.tables import approvals, events, runs

RUN_COLUMNS = tuple(runs.c[name] for name in RunRow.__dataclass_fields__)
"""The columns `run_row` reads, in the order of RunRow's fields."""
EVENT_COLUMNS = tuple(events.c[name] for name in ("seq", "epoch", "kind", "step", "attempt", "body", "at", "crc"))
APPROVAL_COLUMNS = tuple(approvals.c[name] for name in ApprovalRow.__dataclass_fields__)

_JOURNALS = select(events.c.run_id, *EVENT_COLUMNS).where(any_of(events.c.run_id, "ids")).order_by(events.c.run_id, events.c.seq)


def run_row(row: Sequence[Any]) -> RunRow:
    """A run from RUN_COLUMNS."""
    values = dict(zip(RunRow.__dataclass_fields__, row, strict=True))
    values["status"] = RunStatus(values["status"])
    values["labels"] = from_text(values["labels"]) if values["labels"] else {}
    values["result"] = from_text_or_none(values["result"])
    values["error"] = from_text_or_none(values["error"])
    return RunRow(**values)


def approval_from(row: Sequence[Any]) -> ApprovalRow:
    """An approval from APPROVAL_COLUMNS."""
    values = dict(zip(ApprovalRow.__dataclass_fields__, row, strict=True))
    for name in ("form", "show", "decision"):
        values[name] = from_text_or_none(values[name])
    return ApprovalRow(**values)


def journals(connection: Connection, run_ids: Sequence[str]) -> dict[str, tuple[Event, ...]]:
    """The whole journals of these runs. A damaged one is left out: reading it alone says what is wrong with it."""
    if not run_ids:
        return {}
    rows: dict[str, list[Sequence[Any]]] = {run_id: [] for run_id in run_ids}
    for row in connection.execute(_JOURNALS, {"ids": list(run_ids)}).all():
        rows[row[0]].append(row[1:])
    read = {}
    for run_id, found in rows.items():
        try:
            read[run_id] = tuple(read_event(run_id, row) for row in found)
        except JournalDamaged:
            continue
    return read
