"""What refusals teach: a pace that is cut by each and grows again in between, where nobody says what the limit is, or says too much.

A refusal at a pace nobody has allowed halves it. Where a limit is known and kept, a few refusals say no more than that requests arrive less
evenly than they are sent, so the pace is cut by half the share that was refused (as DCTCP does with marks, RFC 8257): a whole burst of
refusals halves it all the same.
"""

from typing import Literal

FLOOR = 60.0
FLOOR_SHARE = 0.1
"""So many requests a minute remain, however often they are refused, and so much of a known limit: not each refusal is one of the pace."""
KEPT = 0.75
"""A pace that refusals have brought below this share of the known limit shows that it is another one: from there on each halves."""
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


Verdict = Literal["new", "known", "still"]
"""What a refusal says: something new; what another one of the same burst has said; or that it is still too early to ask again, whatever the pace."""


class Recent:
    """How many requests there were in the last ten seconds."""

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}

    def add(self, now: float) -> None:
        """There is one more."""
        second = int(now)
        if second not in self._counts:
            self._counts = {then: count for then, count in self._counts.items() if then > second - SPAN_SECONDS}
        self._counts[second] = self._counts.get(second, 0) + 1

    def count(self, now: float) -> int:
        """Of them all."""
        return sum(self._lately(now).values())

    def per_minute(self, now: float) -> float:
        """The pace they had, 0 when there was none."""
        counts = self._lately(now)
        if not counts:
            return 0.0
        return sum(counts.values()) * 60.0 / max(1.0, now - min(counts))

    def _lately(self, now: float) -> dict[int, int]:
        return {then: count for then, count in self._counts.items() if then > int(now) - SPAN_SECONDS}


class Adaptive:
    """Additive increase, multiplicative decrease. `limit` is in requests a minute; None until the first refusal."""

    def __init__(self) -> None:
        self.limit: float | None = None
        self.ceiling: float | None = None
        """The pace that was refused last; None until a pace of ours was."""
        self._uncut: float | None = None
        """The pace that the last refusal has cut by the share that was refused; None when it has halved it."""
        self._floor = FLOOR
        self._answered_sent_at, self._refused_sent_at = 0.0, -1.0
        """When the latest request that was answered was sent, and the latest that was refused."""
        self._refused_at = 0.0
        self._grown_at = 0.0

    def answered(self, sent_at: float) -> None:
        """A request that was sent then was not refused."""
        self._answered_sent_at = max(self._answered_sent_at, sent_at)

    def refused(self, sent_at: float, pace: float, known: float | None, share: float, now: float) -> Verdict:
        """A request that was sent then was refused; `pace`: how many a minute went out; `known`: how many were thought to be allowed; `share`:
        of the requests sent lately, how many of them were refused, 0 to 1.
        """
        passed = self._answered_sent_at > self._refused_sent_at
        self._refused_sent_at = max(self._refused_sent_at, sent_at)
        if self.limit is not None and sent_at <= self._refused_at:
            if self._uncut is not None:
                self.limit = min(self.limit, max(self._floor, self._uncut * (1 - share / 2)))
            return "known"
        self._refused_at = self._grown_at = now
        if self.limit is not None and not passed:
            return "still"
        self._floor = FLOOR if known is None else min(known, max(FLOOR, FLOOR_SHARE * known))
        before = known if self.limit is None else self.limit
        self._uncut = None
        if known is not None and before is not None and before >= KEPT * known:
            self._uncut = self.ceiling = before
            self.limit = max(self._floor, before * (1 - share / 2))
        elif self.limit is None:
            self.limit = max(self._floor, pace / 2)
        else:
            self.ceiling = min(self.limit, max(pace, self._floor)) if pace else self.limit
            self.limit = max(self._floor, self.ceiling / 2)
        return "new"

    def adopt(self, limit: float, ceiling: float | None, now: float) -> None:
        """What somebody has learned before; the lower counts."""
        if self.limit is None or limit < self.limit:
            self.limit, self.ceiling, self._uncut = max(FLOOR, limit), ceiling, None
            self._refused_at = self._grown_at = now

    def grow(self, pace: float, now: float) -> None:
        """Time has passed; `pace`: how many requests a minute went out meanwhile."""
        if self.limit is None:
            return
        if now - self._refused_at > FORGET_SECONDS:
            self.limit = self.ceiling = self._uncut = None
            return
        passed, self._grown_at = now - self._grown_at, now
        if self.ceiling is None:
            grown = self.limit * 2 ** (passed / DOUBLE_SECONDS)
        else:
            near = NEAR * self.ceiling
            quick = min(passed, max(0.0, near - self.limit) / (QUICK * self.ceiling))
            grown = self.limit + self.ceiling * (QUICK * quick + SLOW * (passed - quick))
        self.limit = max(self.limit, min(grown, ROOM * pace))
