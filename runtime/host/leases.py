"""Who lives: this host's heartbeat, and its judgement of the others.

An owner is dead when this process has itself seen the same beat for a whole lease on its own monotonic clock. No wall clock
takes part, so clocks that jump change nothing; being wrong costs a take-over and never a double write: epochs and heads
fence late writers (docs/architecture.md).

Time in which this process could not look does not count. While the database is away nobody's beat moves; whoever came back first would
otherwise declare all the others dead.
"""

from collections.abc import Iterable

from runtime.clock import Clock
from runtime.store.protocol import OwnerRow

BLIND_SHARE = 0.5
"""Of a lease; looks are a quarter of one apart, and after a longer pause than this the watch begins anew."""


class Observer:
    """Remembers when each owner's beat last changed."""

    def __init__(self, me: str, clock: Clock, lease_ms: int) -> None:
        self._me = me
        self._clock = clock
        self._lease = lease_ms / 1000
        self._seen: dict[str, tuple[int, float]] = {}
        self._looked: float | None = None

    def dead(self, owners: Iterable[OwnerRow]) -> list[str]:
        """Owners whose beat has stood still for a lease, judged from this and all earlier looks."""
        now = self._clock.monotonic()
        if self._looked is not None and now - self._looked > self._lease * BLIND_SHARE:
            self._seen.clear()
        self._looked = now
        rows = {row.owner: row for row in owners if row.owner != self._me}
        self._seen = {owner: self._seen[owner] if owner in self._seen and self._seen[owner][0] == row.beat else (row.beat, now) for owner, row in rows.items()}
        return [owner for owner, (_, since) in self._seen.items() if now - since >= self._lease]
