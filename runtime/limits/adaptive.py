"""What refusals teach: a pace that is halved by each and grows again in between, where nobody says what the limit is, or says too much."""

FLOOR = 60.0
"""Requests a minute that remain, however often they are refused."""
NEAR = 0.9
QUICK, SLOW = 0.1, 0.01
"""Shares of the pace of the last refusal that are added each second: below `NEAR` of it, and from there on."""
DOUBLE_SECONDS = 5.0
"""Until it is known what is too fast, the pace doubles in this time."""
ROOM = 2.0
"""The pace does not grow beyond so many times what is really asked: nobody could tell whether it is allowed."""
FORGET_SECONDS = 3600.0
"""After so long without a refusal nothing is limited by them any more."""
SPAN_SECONDS = 10


class Recent:
    """How many requests went out in the last ten seconds."""

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}

    def add(self, now: float) -> None:
        """One goes out."""
        second = int(now)
        if second not in self._counts:
            self._counts = {then: count for then, count in self._counts.items() if then > second - SPAN_SECONDS}
        self._counts[second] = self._counts.get(second, 0) + 1

    def per_minute(self, now: float) -> float:
        """The pace they had, 0 when there was none."""
        counts = {then: count for then, count in self._counts.items() if then > int(now) - SPAN_SECONDS}
        if not counts:
            return 0.0
        return sum(counts.values()) * 60.0 / max(1.0, now - min(counts))


class Adaptive:
    """Additive increase, multiplicative decrease. `limit` is in requests a minute; None until the first refusal."""

    def __init__(self) -> None:
        self.limit: float | None = None
        self.ceiling: float | None = None
        """The pace that was refused last; None until a pace of ours was."""
        self._refused_at = 0.0
        self._grown_at = 0.0

    def refused(self, sent_at: float, pace: float, known: float, now: float) -> bool:
        """A request that was sent then was refused; `pace`: how many a minute went out; `known`: how many were thought to be allowed, or
        again the pace when nothing was. False when it says nothing new.

        What was on its way when another was refused belongs to the same refusal: a burst halves once.
        """
        if self.limit is not None and sent_at <= self._refused_at:
            return False
        if self.limit is None:
            self.limit = max(FLOOR, known / 2)
        else:
            self.ceiling = min(self.limit, max(pace, FLOOR)) if pace else self.limit
            self.limit = max(FLOOR, self.ceiling / 2)
        self._refused_at = self._grown_at = now
        return True

    def adopt(self, limit: float, ceiling: float | None, now: float) -> None:
        """What somebody has learned before; the lower counts."""
        if self.limit is None or limit < self.limit:
            self.limit, self.ceiling = max(FLOOR, limit), ceiling
            self._refused_at = self._grown_at = now

    def grow(self, pace: float, now: float) -> None:
        """Time has passed; `pace`: how many requests a minute went out meanwhile."""
        if self.limit is None:
            return
        if now - self._refused_at > FORGET_SECONDS:
            self.limit = self.ceiling = None
            return
        passed, self._grown_at = now - self._grown_at, now
        if self.ceiling is None:
            grown = self.limit * 2 ** (passed / DOUBLE_SECONDS)
        else:
            near = NEAR * self.ceiling
            quick = min(passed, max(0.0, near - self.limit) / (QUICK * self.ceiling))
            grown = self.limit + self.ceiling * (QUICK * quick + SLOW * (passed - quick))
        self.limit = max(self.limit, min(grown, ROOM * pace))
