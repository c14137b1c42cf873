"""Cron expressions: read, explained, and refused in plain words. The arithmetic is cronsim's, which answers as Debian's cron does."""

from collections.abc import Iterator
from datetime import datetime

from cronsim import CronSim, CronSimError

MAX_LENGTH = 200
"""Characters of one expression."""

ALIASES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_FIELDS = {
    "second": "0-59",
    "minute": "0-59",
    "hour": "0-23",
    "day-of-month": "1-31, L (the last day) or LW (the last weekday)",
    "month": "1-12 or JAN-DEC",
    "day-of-week": "0-7 or SUN-SAT, MON#2 (the second Monday) or 5L (the last Friday)",
}
_SOME_DAY = datetime(2024, 1, 1)  # noqa: DTZ001 - only parsed with; no tick comes of it


def check_cron(text: str) -> str:
    """`text` itself. Raises ValueError with one sentence that says which field is wrong and what it takes."""
    if len(text) > MAX_LENGTH or not text.isascii():
        raise ValueError(f"a cron expression is at most {MAX_LENGTH} plain ASCII characters")
    expression = _expanded(text)
    try:
        CronSim(expression, _SOME_DAY)
    except CronSimError as error:
        raise ValueError(_in_words(text, expression, str(error))) from None
    return text


def explain(text: str) -> str:
    """An expression that `check_cron` has passed, in English: `At 09:00 on Monday through Friday`."""
    said: str = CronSim(_expanded(text), _SOME_DAY).explain()
    return said


def times(text: str, after: datetime) -> Iterator[datetime]:
    """The times after `after` in its zone, in order; around the end of daylight saving time some may lie before `after`."""
    return iter(CronSim(_expanded(text), after))


def _expanded(text: str) -> str:
    return ALIASES.get(text.strip().lower(), text)


def _in_words(text: str, expression: str, said: str) -> str:
    parts = expression.split()
    if text.strip().startswith("@"):
        return f"'{text}' is no shorthand; there are {', '.join(ALIASES)}"
    if len(parts) not in (5, 6):
        return f"'{text}' has {len(parts)} fields; write 5 (minute, hour, day of month, month, day of week), or 6 with the seconds first"
    names = list(_FIELDS)[-len(parts) :]
    field = said.removeprefix("Bad ")
    part = parts[names.index(field)]
    if field == "day-of-month" and _is_alone_right(part):
        return f"'{text}' never comes: none of its months has that day"
    return f"the {field} field '{part}' is not valid; it takes {_FIELDS[field]}, or *, with lists (1,2), ranges (1-5) and steps (*/2)"


def _is_alone_right(part: str) -> bool:
    """Whether the day of the month would be right in another month."""
    try:
        CronSim(f"0 0 {part} * *", _SOME_DAY)
    except CronSimError:
        return False
    return True
