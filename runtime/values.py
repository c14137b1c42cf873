"""Large values travel by reference: JSON over 64 KiB lives in the artifact store under its hash."""

from typing import Any

from pydantic_core import from_json, to_json

from runtime.artifacts.protocol import ArtifactStore
from runtime.references import REFERENCE, holds_reference, is_reference, reference

__all__ = ["INLINE_LIMIT", "is_reference", "load", "reference", "spill"]

INLINE_LIMIT = 64 * 1024
"""Bytes of JSON that may stand in a journal row."""


async def spill(value: Any, store: ArtifactStore, *, limit: int) -> Any:
    """`value` itself when its JSON is small, a reference to it when it is not. Raises PayloadTooLarge beyond `limit` bytes.

    A value that merely looks like a reference is stored too, so that nobody can write one by hand and read what is not theirs.
    """
    data = to_json(value, inf_nan_mode="strings")
    if len(data) <= INLINE_LIMIT and not holds_reference(value):
        return value
    digest, size = await store.put(data, limit=limit)
    return reference(digest, size)


async def load(value: Any, store: ArtifactStore) -> Any:
    """The value a reference stands for, also within the list of a map's outputs; anything else as it is. Raises ArtifactMissing."""
    if is_reference(value):
        return from_json(await store.get(value[REFERENCE]["sha256"]))
    if holds_reference(value):
        return [await load(part, store) if is_reference(part) else part for part in value]
    return value
