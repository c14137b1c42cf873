"""Token buckets: so many calls a minute, in a burst or one by one."""

from runtime.clock import Clock
from runtime.errors import Overloaded
from runtime.lru import Lru

KNOWN = 10_000
"""Buckets that are remembered; one that is forgotten is full again."""


class Buckets:
    """A bucket for each name, as large as the minute's allowance. They belong to this process: with several, each has its own."""

    def __init__(self, per_minute: int, clock: Clock) -> None:
        self._most = float(per_minute)
        self._clock = clock
        self._levels: Lru[str, tuple[float, float]] = Lru(KNOWN)

    def take(self, name: str) -> None:
        """Use one call up. Raises Overloaded that says after how many seconds there will be another."""
        now = self._clock.monotonic()
        level, at = self._levels.get(name) or (self._most, now)
        level = min(self._most, level + (now - at) * self._most / 60)
        if level < 1:
            self._levels.put(name, (level, now))
            raise Overloaded(f"more than {self._most:.0f} requests a minute", retry_after=(1 - level) * 60 / self._most)
        self._levels.put(name, (level - 1, now))
