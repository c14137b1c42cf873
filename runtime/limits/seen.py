"""What providers say of their limits in the headers of their answers."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

MAX_MINUTES_RESET = 120.0
"""A limit that is back only after more seconds than this is not one of a minute."""
MAX_RESET = 86_400.0

_SPAN = re.compile(r"(?:(\d{1,4})d)?(?:(\d{1,6})h)?(?:(\d{1,6})m(?!s))?(?:(\d{1,9}(?:\.\d{1,9})?)s)?(?:(\d{1,9}(?:\.\d{1,9})?)ms)?")
_WEIGHTS = (86_400.0, 3600.0, 60.0, 1.0, 0.001)


@dataclass(frozen=True, slots=True)
class Quota:
    """One limit as its owner states it; None is what was not said."""

    limit: int | None = None
    """Per minute. None also for a limit of a longer time."""
    remaining: int | None = None
    reset: float | None = None
    """Seconds until the whole limit is there again."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What one answer says."""

    requests: Quota | None = None
    tokens: Quota | None = None


def seen(headers: Mapping[str, str], now: float) -> Seen | None:
    """The limits in an answer's headers (names in lower case); None when they say nothing. `now`: seconds since the epoch.

    Read are OpenAI's `x-ratelimit-*`, which most compatible servers use too, and Anthropic's `anthropic-ratelimit-*`. What cannot be
    read counts as not said: headers are as untrusted as everything a server sends.
    """
    found = Seen(
        _quota(headers, "x-ratelimit-{}-requests", now) or _quota(headers, "anthropic-ratelimit-requests-{}", now),
        _quota(headers, "x-ratelimit-{}-tokens", now)
        or _quota(headers, "anthropic-ratelimit-tokens-{}", now)
        or _quota(headers, "anthropic-ratelimit-input-tokens-{}", now),
    )
    return None if found == Seen() else found


def _quota(headers: Mapping[str, str], name: str, now: float) -> Quota | None:
    limit, remaining = _count(headers.get(name.format("limit"))), _count(headers.get(name.format("remaining")))
    reset = _seconds(headers.get(name.format("reset")), now)
    if limit is None and remaining is None:
        return None
    if reset is not None and reset > MAX_MINUTES_RESET:
        # Spreading what is left of a day over the day would be nobody's wish; when nothing is left, there is nothing to try.
        return Quota(None, remaining, reset) if remaining == 0 else None
    return Quota(limit or None, remaining, reset)


def _count(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) <= 12 else None


def _seconds(text: str | None, now: float) -> float | None:
    """`1s`, `6m0s`, `120ms`, `12.5` (seconds), or a time such as `2026-01-27T12:00:00Z`."""
    if not text or len(text) > 40:
        return None
    if (span := _SPAN.fullmatch(text)) is not None:
        return min(MAX_RESET, sum(float(part) * weight for part, weight in zip(span.groups(), _WEIGHTS, strict=True) if part))
    if re.fullmatch(r"\d{1,9}(\.\d{1,9})?", text):
        return min(MAX_RESET, float(text))
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return min(MAX_RESET, max(0.0, moment.timestamp() - now))
