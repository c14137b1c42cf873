"""The other hosts on the same database, as far as this process can reach them."""

from collections.abc import Sequence
from typing import Protocol


class Neighbours(Protocol):
    """Hints: neither call may block, and each of them may be lost."""

    def nudge(self, run_ids: Sequence[str]) -> None:
        """These runs (children, parents) have something new; others may own them."""

    def offer(self, run_ids: Sequence[str]) -> None:
        """This host gives these runs up; whoever is first takes them."""
