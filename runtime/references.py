"""How JSON that is stored elsewhere is written down: `{"$artifact": {"sha256", "size", "media_type"}}`."""

from typing import Any, TypeGuard

REFERENCE = "$artifact"


def reference(digest: str, size: int) -> dict[str, Any]:
    """The JSON that stands for a value stored under `digest` (sha256, hex), `size` bytes long."""
    return {REFERENCE: {"sha256": digest, "size": size, "media_type": "application/json"}}


def is_reference(value: Any) -> TypeGuard[dict[str, dict[str, Any]]]:
    """Whether `value` is exactly such a stand-in."""
    return isinstance(value, dict) and len(value) == 1 and isinstance(value.get(REFERENCE), dict)


def holds_reference(value: Any) -> bool:
    """Whether `value` is a stand-in or, as a map's output may be, a list with stand-ins in it."""
    return is_reference(value) or (isinstance(value, list) and any(is_reference(part) for part in value))
