"""What may go out by the limits of one key, or by what was learned about one model of it."""

from dataclasses import dataclass

from runtime.limits.adaptive import Adaptive, Recent
from runtime.limits.pace import Pace
from runtime.limits.seen import Quota, Seen

DEFAULT_PAUSE = 1.0
"""Seconds after a refusal that does not say how long to wait."""
MAX_PATIENCE = 30.0
"""When the first request after a pause is refused too, the next pause is twice as long, up to so many seconds."""
MAX_PAUSE = 3600.0
"""No provider stops us for longer than this without being asked again."""
REGULATE_SECONDS = 0.25
"""So often a pace that grows is set anew."""


@dataclass(frozen=True, slots=True)
class Learned:
    """What a gate knows that no setting says, in a form that survives it. Limits are per minute, `pause` is in seconds."""

    requests: float | None = None
    tokens: float | None = None
    adaptive: float | None = None
    ceiling: float | None = None
    pause: float = 0.0


class Gate:
    """Requests and tokens at their paces, and pauses. Times are seconds of one clock that never jumps."""

    def __init__(self, now: float) -> None:
        self.since = now
        self.requests: Pace | None = None
        self.tokens: Pace | None = None
        self.paused_until = 0.0
        self.refusals = 0
        self._steady: Pace | None = None
        """At the pace that refusals have taught."""
        self._adaptive = Adaptive()
        self._recent, self._refused = Recent(), Recent()
        self._regulated_at = 0.0
        self._patience = DEFAULT_PAUSE

    def limit(self, requests: float | None, tokens: float | None, now: float) -> None:
        """These are the limits a minute from now on, None: there is none."""
        self.requests = _at(self.requests, requests, now)
        self.tokens = _at(self.tokens, tokens, now)

    def ready_at(self, now: float) -> float:
        """From when on the next request may go."""
        self._regulate(now)
        return max([self.paused_until, *(pace.ready_at for pace in (self.requests, self.tokens, self._steady) if pace is not None)])

    def take(self, tokens: int, now: float) -> None:
        """A request goes out that takes about so many tokens."""
        self._recent.add(now)
        for pace in (self.requests, self._steady):
            if pace is not None:
                pace.take(1, now)
        if self.tokens is not None:
            self.tokens.take(tokens, now)

    def correct(self, tokens: int) -> None:
        """It took so many more."""
        if self.tokens is not None:
            self.tokens.correct(tokens)

    def hear(self, said: Seen, now: float) -> None:
        """What the provider says in an answer. A limit it names stays until it names another one."""
        requests, tokens = said.requests or Quota(), said.tokens or Quota()
        self.limit(requests.limit or _limit(self.requests), tokens.limit or _limit(self.tokens), now)
        for quota, pace in ((requests, self.requests), (tokens, self.tokens)):
            if quota.remaining == 0 and quota.limit is None and quota.reset is not None:
                self.pause(quota.reset, now)
            elif quota.remaining is not None and pace is not None:
                pace.left(quota.remaining, now)

    def refuse(self, after: float | None, *, sent_at: float, pace: float, known: float | None, now: float) -> None:
        """A request was refused because there were too many. `pace`: how many a minute went out, as far as whoever sent it knows; `known`: the
        limit of requests that was to be kept.
        """
        self.refusals += 1
        self._refused.add(now)
        pace = max(pace, self._recent.per_minute(now))
        share = min(1.0, self._refused.count(now) / max(1, self._recent.count(now)))
        verdict = self._adaptive.refused(sent_at, pace, known, share, now)
        self._regulate(now, anyway=True)
        if verdict != "known":
            self._patience = min(MAX_PATIENCE, self._patience * 2) if verdict == "still" else DEFAULT_PAUSE
        # A provider that names a time and then refuses again does not know it either.
        least = self._patience if after is None or verdict == "still" else 0.0
        self.pause(max(after or 0.0, least), now)

    def answered(self, sent_at: float) -> None:
        """A request that was sent then was not refused."""
        self._adaptive.answered(sent_at)

    def pause(self, seconds: float, now: float) -> None:
        """Nothing goes out for so long, and nothing piles up meanwhile."""
        self.paused_until = max(self.paused_until, now + min(MAX_PAUSE, seconds))
        for pace in (self.requests, self._steady):
            if pace is not None:
                pace.rest(self.paused_until)

    def learned(self, now: float) -> Learned:
        """All that would be lost with this gate."""
        self._regulate(now)
        adaptive = self._adaptive
        return Learned(_limit(self.requests), _limit(self.tokens), adaptive.limit, adaptive.ceiling, max(0.0, self.paused_until - now))

    def adopt(self, learned: Learned, now: float) -> None:
        """What another gate in this place had learned; the lowest counts."""
        requests = [limit for limit in (_limit(self.requests), learned.requests) if limit is not None]
        tokens = [limit for limit in (_limit(self.tokens), learned.tokens) if limit is not None]
        self.limit(min(requests, default=None), min(tokens, default=None), now)
        if learned.adaptive is not None:
            self._adaptive.adopt(learned.adaptive, learned.ceiling, now)
            self._regulate(now, anyway=True)
        if learned.pause > 0:
            self.pause(learned.pause, now)

    def _regulate(self, now: float, *, anyway: bool = False) -> None:
        if not anyway and now - self._regulated_at < REGULATE_SECONDS:
            return
        self._regulated_at = now
        self._adaptive.grow(self._recent.per_minute(now), now)
        self._steady = _at(self._steady, self._adaptive.limit, now)


def _at(pace: Pace | None, limit: float | None, now: float) -> Pace | None:
    if limit is None:
        return None
    if pace is None:
        return Pace(limit, now)
    if pace.limit != limit:
        pace.change(limit, now)
    return pace


def _limit(pace: Pace | None) -> float | None:
    return None if pace is None else pace.limit
