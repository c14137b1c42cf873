"""When the counting of a budget begins anew: with each day or month of UTC, or, for a run, never."""

from datetime import UTC, datetime
from typing import Literal

Period = Literal["run", "day", "month"]
DAY_MS = 86_400_000


def begin(period: str, at: int) -> int:
    """When the period that `at` (ms) lies in began, in ms; 0 for `run`."""
    if period == "run":
        return 0
    if period == "day":
        return at - at % DAY_MS
    moment = datetime.fromtimestamp(at / 1000, UTC)
    return round(datetime(moment.year, moment.month, 1, tzinfo=UTC).timestamp() * 1000)
