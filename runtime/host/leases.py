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
"""Of a lease: so much counts at most between two looks, which are a quarter of one apart when all is well."""


class Observer:
    """Remembers when each owner's beat last changed."""

    def __init__(self, me: str, clock: Clock, lease_ms: int) -> None:
        self._me = me
        self._clock = clock
        self._lease = lease_ms / 1000
        self._seen: dict[str, tuple[int, float]] = {}
        """Owner → (beat, seconds it has stood still while this process looked)."""
        self._looked: float | None = None

    def dead(self, owners: Iterable[OwnerRow]) -> list[str]:
        """Owners whose beat has stood still for a lease, judged from this and all earlier looks."""
        now = self._clock.monotonic()
        passed = 0.0 if self._looked is None else min(now - self._looked, self._lease * BLIND_SHARE)
        self._looked = now
        self._seen = {row.owner: (row.beat, self._stood(row, passed)) for row in owners if row.owner != self._me}
        return [owner for owner, (_, stood) in self._seen.items() if stood >= self._lease]

    def _stood(self, row: OwnerRow, passed: float) -> float:
        beat, stood = self._seen.get(row.owner, (None, 0.0))
        return stood + passed if beat == row.beat else 0.0
