"""Identifiers: UUIDv7, sortable by creation time in both databases (RFC 9562 §5.7)."""

import base64
import hashlib
import os
import time
import uuid


def uuid7(now_ms: int | None = None) -> str:
    """A UUIDv7 as its 36-character string; `now_ms` is milliseconds since the Unix epoch."""
    timestamp = time.time_ns() // 1_000_000 if now_ms is None else now_ms
    random = int.from_bytes(os.urandom(10))
    value = (timestamp & 0xFFFF_FFFF_FFFF) << 80 | 0x7 << 76 | (random >> 68) << 64 | 0b10 << 62 | random & (1 << 62) - 1
    return str(uuid.UUID(int=value))


def is_uuid(text: str) -> bool:
    """Whether `text` is a UUID in its canonical lower-case form."""
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False


def idempotency_key(run_id: str, step_key: str) -> str:
    """The key an effect of this step carries, the same for all of its attempts (26 characters of base32).

    It derives from the run and the step, never from time, so that a restored or repeated run sends the key it sent before.
    """
    digest = hashlib.sha256(f"{run_id}\0{step_key}".encode()).digest()
    return base64.b32encode(digest[:16]).decode().rstrip("=").lower()
