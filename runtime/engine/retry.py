"""When a failed attempt is repeated, and how long that waits."""

import hashlib
from typing import Any

from runtime.definition.model import Retry
from runtime.definition.types import MAX_DURATION_MS

CRASH_ALLOWANCE = 2
"""Attempts beyond `max_attempts` for those whose process died: a crash of ours is not the step's failure, but it has a bound."""
CRASH_CODES = frozenset({"executor_lost"})


def delay_ms(retry: Retry, attempt: int, *, seed: int, key: str) -> int:
    """Milliseconds to wait after failed attempt number `attempt` (from 1).

    Exponential: initial · factor^(attempt-1); linear: initial · attempt; constant: initial; `jitter` of it random in both
    directions; never more than `maximum`. The randomness is a hash of the run's seed, so every replay waits the same.
    """
    if retry.backoff == "exponential":
        base = retry.initial * retry.factor ** min(attempt - 1, 64)
    elif retry.backoff == "linear":
        base = retry.initial * attempt
    else:
        base = retry.initial
    base = min(base, retry.maximum)
    return round(min(base * (1 + retry.jitter * (2 * _fraction(seed, key, attempt) - 1)), retry.maximum))


def may_retry(retry: Retry, attempt: int, error: dict[str, Any]) -> bool:
    """Whether another attempt follows this one."""
    code = error.get("code")
    if code in CRASH_CODES:
        return attempt < retry.max_attempts + CRASH_ALLOWANCE
    return attempt < retry.max_attempts and error.get("retryable", True) and code not in retry.non_retryable


def retry_at(retry: Retry, attempt: int, error: dict[str, Any], *, now: int, seed: int, key: str) -> int | None:
    """When (ms) the next attempt is due, or None when there is none. A Retry-After (s) of the other side is honoured."""
    if not may_retry(retry, attempt, error):
        return None
    if error.get("code") in CRASH_CODES:
        return now
    asked = min(MAX_DURATION_MS, float(error.get("retry_after") or 0) * 1000)
    return now + max(round(asked), delay_ms(retry, attempt, seed=seed, key=key))


def _fraction(seed: int, key: str, attempt: int) -> float:
    digest = hashlib.blake2b(f"{seed}\0{key}\0{attempt}".encode(), digest_size=7).digest()
    return int.from_bytes(digest) / (1 << 56)
