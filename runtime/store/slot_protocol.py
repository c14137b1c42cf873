"""The part of the seam that is about slots: whom a limit of concurrency holds back, and who hears that it no longer does."""

from collections.abc import Callable, Sequence
from typing import Protocol

SLOT = "slot"
"""What a queued run waits for that has none: a word of views and queries, not of the journal."""


class Slotted(Protocol):
    """What a journal does about slots besides what `submit`, `append` and `send` do by themselves."""

    async def grant_slots(self) -> list[str]:
        """Give free slots that nobody gave away: the net under what every end of a run does by itself. Cheap when there are none."""
        ...

    def on_news(self, tell: Callable[[Sequence[str]], None]) -> None:
        """Have `tell` called after a commit through this store with runs that got a slot or a message because of another run."""
        ...

    async def place_in_line(self, run_id: str) -> int | None:
        """The place of a run that waits for a slot among those of its key, from 1; None when it does not wait for one."""
        ...
