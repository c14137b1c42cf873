"""Large values travel by reference: JSON over 64 KiB lives in the artifact store under its hash."""

from typing import Any, TypeGuard

from pydantic_core import from_json, to_json

from runtime.artifacts.protocol import ArtifactStore

INLINE_LIMIT = 64 * 1024
"""Bytes of JSON that may stand in a journal row."""

REFERENCE = "$artifact"


def reference(digest: str, size: int) -> dict[str, Any]:
    """The JSON that stands for a value stored elsewhere."""
    return {REFERENCE: {"sha256": digest, "size": size, "media_type": "application/json"}}


def is_reference(value: Any) -> TypeGuard[dict[str, dict[str, Any]]]:
    """Whether `value` is exactly such a stand-in."""
    return isinstance(value, dict) and len(value) == 1 and isinstance(value.get(REFERENCE), dict)


async def spill(value: Any, store: ArtifactStore, *, limit: int) -> Any:
    """`value` itself when its JSON is small, a reference to it when it is not. Raises PayloadTooLarge beyond `limit` bytes."""
    data = to_json(value, inf_nan_mode="strings")
    if len(data) <= INLINE_LIMIT:
        return value
    digest, size = await store.put(data, limit=limit)
    return reference(digest, size)


async def load(value: Any, store: ArtifactStore) -> Any:
    """The value a reference stands for; any other value is returned as it is. Raises ArtifactMissing."""
    if not is_reference(value):
        return value
    return from_json(await store.get(value[REFERENCE]["sha256"]))
