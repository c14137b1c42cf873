"""Content of the artifact store that no run refers to any more: set aside first, gone a day later.

Why nothing is lost, whoever stores, forks or reads at the same moment:
- `put` trusts content that is in its place. It is set aside only when no run refers to it and it was stored longer ago than the grace;
  set aside, it can still be read, for another grace.
- Whoever stores content commits a reference to it within the grace (a step's result, an input, a message). When the grace of what was
  set aside is over, the database is asked again: what has a reference by then goes back, and only the rest is erased.
- References spread without `put` from run to run only by forks, and a fork is refused when its source is gone (its transaction holds
  the source), so that content always has the reference of the one or the other; or by a child's end, when both runs are there.
- Setting aside takes a moment, and clocks of machines differ a little: the second grace is SLACK_MS longer than the first.
- A crash at any point leaves content in its place, aside, or both. The next round finds it.
"""

from dataclasses import dataclass

from runtime.artifacts.aside import SetAside
from runtime.artifacts.protocol import ArtifactStore
from runtime.clock import Clock
from runtime.store.retention import SqlRetention

SLACK_MS = 3_600_000
PAGE = 500
PAGES = 20
"""Pages of the store one round looks at; the next round goes on there. A store of a million values is seen once in nine hours."""


@dataclass(slots=True)
class Collected:
    """What one round did to the content of the artifact store."""

    set_aside: int = 0
    put_back: int = 0
    erased: int = 0


class Collector:
    """One per janitor; several at once, on one machine or many, do no harm."""

    def __init__(self, store: SqlRetention, artifacts: ArtifactStore, clock: Clock, grace_ms: int) -> None:
        self._store = store
        self._artifacts = artifacts
        self._clock = clock
        self._grace = grace_ms
        self._place = ""

    async def round(self) -> Collected:
        """Decide over what has been aside for the grace, then look for more. Raises StoreUnavailable."""
        done = Collected()
        await self._decide(done)
        for _ in range(PAGES):
            page = await self._artifacts.stored(self._place, PAGE)
            old = {item.digest for item in page if item.modified < self._clock.now() - self._grace}
            for digest in sorted(old - await self._store.referenced(old)):
                await self._artifacts.set_aside(digest, self._clock.now())
                done.set_aside += 1
            self._place = page[-1].digest if page else ""
            if not page:
                break
        return done

    async def _decide(self, done: Collected) -> None:
        before = self._clock.now() - self._grace - SLACK_MS
        last: SetAside | None = None
        while page := await self._artifacts.aside(last, PAGE):
            last = page[-1]
            due = [item for item in page if item.at < before]
            needed = await self._store.referenced({item.digest for item in due})
            for item in due:
                if item.digest in needed:
                    await self._artifacts.put_back(item)
                    done.put_back += 1
                else:
                    await self._artifacts.erase(item)
                    done.erased += 1
