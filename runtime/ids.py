"""Identifiers: UUIDv7, sortable by creation time in both databases (RFC 9562 §5.7)."""

import base64
import hashlib
import os
import time
import uuid


def uuid7(now_ms: int | None = None) -> str:
    """A UUIDv7 as its 36-character string; `now_ms` is milliseconds since the Unix epoch."""
    return _uuid7(time.time_ns() // 1_000_000 if now_ms is None else now_ms, os.urandom(10))


def derived_uuid7(now_ms: int, *parts: object) -> str:
    """A UUIDv7 whose random part is a hash of `parts`: the same question always gets the same id."""
    return _uuid7(now_ms, hashlib.sha256("\0".join(map(str, parts)).encode()).digest()[:10])


def _uuid7(now_ms: int, entropy: bytes) -> str:
    random = int.from_bytes(entropy)
    version, variant = 0x7 << 76, 0b10 << 62
    return str(uuid.UUID(int=(now_ms & 0xFFFF_FFFF_FFFF) << 80 | version | (random >> 68) << 64 | variant | random & (1 << 62) - 1))


def created_ms(identifier: str) -> int:
    """When a UUIDv7 was made: its first 48 bits, in ms since the Unix epoch."""
    return int(identifier[:8] + identifier[9:13], 16)


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
