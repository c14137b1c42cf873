"""What runs refer to in the artifact store: one row for each content and run, written with the text that names it.

A row means "do not remove this content". Too many rows cost room, one too few costs a value: whatever looks like a hash in a text
that holds a reference is noted.
"""

import re
from collections.abc import Collection, Iterable
from typing import Any

from sqlalchemy import Connection, select
from sqlalchemy.dialects.postgresql import insert as upsert

from runtime.references import REFERENCE
from runtime.store.columns import any_of
from runtime.store.tables import artifacts, value_refs

_MARK = f'"{REFERENCE}"'
_DIGEST = re.compile('"sha256":"([0-9a-f]{64})"')
# The PostgreSQL construct compiles to the same ON CONFLICT clause on SQLite.
_NOTE = upsert(value_refs).on_conflict_do_nothing(index_elements=["digest", "run_id"])
_VALUES = select(value_refs.c.digest).where(any_of(value_refs.c.digest, "digests")).distinct()
_NAMES = select(artifacts.c.digest).where(any_of(artifacts.c.digest, "digests")).distinct()

Refs = list[dict[str, Any]]
"""Rows of `value_refs`."""


def refs_of(run_id: str, texts: Iterable[str | None]) -> Refs:
    """The rows for what these JSON texts of a run refer to. On the way of every event: a text without references costs one search."""
    named = [text for text in texts if text is not None and _MARK in text]
    if not named:
        return []
    return [{"digest": digest, "run_id": run_id} for digest in sorted({digest for text in named for digest in _DIGEST.findall(text)})]


def note_refs(connection: Connection, refs: Refs) -> None:
    """Write the rows down, in the transaction that writes the texts."""
    if refs:
        connection.execute(_NOTE, refs)


def referenced(connection: Connection, digests: Collection[str]) -> set[str]:
    """Those of `digests` that any run refers to, by value or by name."""
    given = {"digests": sorted(digests)}
    return set(connection.scalars(_VALUES, given)) | set(connection.scalars(_NAMES, given))
