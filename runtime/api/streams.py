"""How many event streams each tenant may hold open in one process."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from runtime.errors import Overloaded

PER_TENANT = 1000


class Streams:
    """Counts what is open now; a closed stream frees its place at once."""

    def __init__(self, limit: int = PER_TENANT) -> None:
        self._limit = limit
        self._open: Counter[str] = Counter()

    def check(self, tenant: str) -> None:
        """Raises Overloaded when the tenant has no place left."""
        if self._open[tenant] >= self._limit:
            raise Overloaded(f"{self._limit} event streams are open already", retry_after=5)

    @contextmanager
    def place(self, tenant: str) -> Iterator[None]:
        """Hold one place."""
        self._open[tenant] += 1
        try:
            yield
        finally:
            self._open[tenant] -= 1
            if not self._open[tenant]:
                del self._open[tenant]
