"""A steady pace: so many units in any minute, one after the other and not all at its beginning.

Providers cut their minutes into shorter pieces, so that a burst that fits into the minute is refused all the same; and a minute's worth sent
at once leaves everybody else waiting for the rest of it. So units go out evenly. Who was held up may catch up on a quarter of a second.
"""

MINUTE = 60.0
MARGIN = 0.005
"""Requests do not arrive as evenly as they are sent. This share of a minute, 0.3 s, may one of them take longer than another without a minute
of whoever counts at the other end having too many."""
BURST_SHARE = 240
"""A minute's limit divided by this may go at once, at least one unit: a quarter of a second's worth."""


class Pace:
    """Times are seconds of one clock that never jumps. Starts as if everything had just been used, so that a new one begins without a burst.

    In any 60 seconds at most `limit` units go, plus, when a unit is not taken alone, all but one of the last ones that were taken together.
    """

    def __init__(self, limit: float, now: float) -> None:
        self._set(limit)
        self._free_at = now + self._slack
        """When everything that may go at once is there again (the theoretical arrival time of the generic cell rate algorithm)."""

    @property
    def limit(self) -> float:
        """Units a minute."""
        return self._limit

    @property
    def ready_at(self) -> float:
        """From when on units may be taken, however many: who takes many makes the next ones wait the longer."""
        return self._free_at - self._slack

    def take(self, units: float, now: float) -> None:
        """Units go out now."""
        self._free_at = max(now, self._free_at) + units * self._spacing

    def correct(self, units: float) -> None:
        """So many more units than were taken have gone out; fewer, when it is negative."""
        self._free_at += units * self._spacing

    def left(self, units: float, now: float) -> None:
        """Whoever counts at the other end has no more than so many units left."""
        missing = max(0.0, self._burst - units)
        if missing:
            self.rest(now + missing * self._spacing)

    def rest(self, until: float) -> None:
        """Nothing goes before then, and what was not used does not pile up."""
        self._free_at = max(self._free_at, until + self._slack)

    def change(self, limit: float, now: float) -> None:
        """From now on another limit; what was taken is still waited for, at the new pace."""
        owed = (self._free_at - now) / self._spacing
        self._set(limit)
        self._free_at = now + owed * self._spacing

    def _set(self, limit: float) -> None:
        self._limit = limit
        self._burst = max(1, int(limit) // BURST_SHARE)
        # Spaced like this, a burst and what follows it within a minute are `limit` together; the margin comes on top.
        self._spacing = MINUTE / (limit - self._burst + 1) * (1 + MARGIN)
        self._slack = (self._burst - 1) * self._spacing
