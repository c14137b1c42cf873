"""Who gets the free slots: a pure function over the first of those who wait, and nothing that is counted up or down between calls."""

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush

Lane = tuple[str, str]
"""(slot group, slot key): runs of one lane are served first come, first served."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A run without a slot, and the limits it was made with."""

    run_id: str
    lane: Lane
    limit: int | None
    per_key: int | None
    priority: int
    created_at: int

    @property
    def rank(self) -> tuple[int, int, str]:
        return (-self.priority, self.created_at, self.run_id)


@dataclass(slots=True)
class Tally:
    """How many runs hold a slot, by group and by lane, as counted under the groups' locks."""

    groups: Counter[str] = field(default_factory=Counter)
    lanes: Counter[Lane] = field(default_factory=Counter)

    def fits(self, run: Waiting) -> bool:
        """Whether this run's own limits leave it a slot."""
        in_group = run.limit is None or self.groups[run.lane[0]] < run.limit
        return in_group and (run.per_key is None or self.lanes[run.lane] < run.per_key)

    def add(self, lane: Lane, count: int = 1) -> None:
        self.groups[lane[0]] += count
        self.lanes[lane] += count

    def copy(self) -> "Tally":
        return Tally(self.groups.copy(), self.lanes.copy())


def allot(waiting: Iterable[Waiting], tally: Tally) -> list[Waiting]:
    """Those who get a slot, in this order, until nobody fits; `tally` counts them.

    In each group the highest priority comes first, then the key with the fewest slots, then who has waited longest. The first of a
    lane holds up the others of its lane, and no other lane.
    """
    lanes: dict[Lane, deque[Waiting]] = {}
    for run in sorted(waiting, key=lambda run: run.rank):
        lanes.setdefault(run.lane, deque()).append(run)
    heads = [(-line[0].priority, tally.lanes[lane], line[0].rank, line) for lane, line in lanes.items()]
    heapify(heads)
    chosen: list[Waiting] = []
    while heads:
        *_, line = heappop(heads)
        run = line.popleft()
        if not tally.fits(run):
            continue
        tally.add(run.lane)
        chosen.append(run)
        if line:
            heappush(heads, (-line[0].priority, tally.lanes[run.lane], line[0].rank, line))
    return chosen
