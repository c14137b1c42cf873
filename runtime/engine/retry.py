"""When a failed attempt is repeated, and how long that waits."""

import hashlib
from typing import Any

from runtime.definition.model import Retry
from runtime.definition.types import MAX_DURATION_MS

CRASH_CODES = frozenset({"executor_lost"})
"""Failures that are not the step's: the process that carried the attempt out died. They have a count and a bound of their own."""
BUDGET_CODE = "budget_exceeded"
UNCOUNTED = CRASH_CODES | {BUDGET_CODE}
"""Failures that use no attempt up: `max_attempts` does not count them."""
ALONE_AFTER = 2
"""After so many crashes an attempt gets a process of its own: whoever brings processes down then hurts nobody else, and shows itself."""
MAX_CRASHES = 5
"""So many crashes of one step or item end it as `poison`: the last of them happened while nobody else was in the process."""


def delay_ms(retry: Retry, attempt: int, *, seed: int, key: str) -> int:
    """Milliseconds to wait after failure number `attempt` (from 1).

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


def may_retry(retry: Retry, failures: int, error: dict[str, Any]) -> bool:
    """Whether another attempt follows the one that has just failed, which was failure number `failures` (from 1)."""
    return failures < retry.max_attempts and error.get("retryable", True) and error.get("code") not in retry.non_retryable


def retry_at(retry: Retry, failures: int, error: dict[str, Any], *, now: int, seed: int, key: str) -> int | None:
    """When (ms) the next attempt is due, or None when there is none. A Retry-After (s) of the other side is honoured."""
    if not may_retry(retry, failures, error):
        return None
    asked = min(MAX_DURATION_MS, float(error.get("retry_after") or 0) * 1000)
    # Never before the time that was asked for, and not all of those who were told the same time together.
    spread = min(MAX_DURATION_MS, asked * (1 + retry.jitter * _fraction(seed, key, failures)))
    return now + max(round(spread), delay_ms(retry, failures, seed=seed, key=key))


def crashed_out(crashes: int) -> bool:
    """Whether the attempt that has just died with its process, crash number `crashes` (from 1), was the last one."""
    return crashes >= MAX_CRASHES


def _fraction(seed: int, key: str, attempt: int) -> float:
    digest = hashlib.blake2b(f"{seed}\0{key}\0{attempt}".encode(), digest_size=7).digest()
    return int.from_bytes(digest) / (1 << 56)
