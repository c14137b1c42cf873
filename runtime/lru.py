"""A bounded map that forgets what was used longest ago."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Lru(Generic[K, V]):
    """At most `capacity` weight in all; an entry weighs 1 unless `put` says otherwise. The newest entry always stays."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._total = 0
        self._entries: OrderedDict[K, tuple[V, int]] = OrderedDict()

    def get(self, key: K) -> V | None:
        entry = self._entries.get(key)
        if entry is None:
            return None
        self._entries.move_to_end(key)
        return entry[0]

    def put(self, key: K, value: V, weight: int = 1) -> None:
        self.pop(key)
        self._entries[key] = (value, weight)
        self._total += weight
        while self._total > self._capacity and len(self._entries) > 1:
            _, (_, dropped) = self._entries.popitem(last=False)
            self._total -= dropped

    def pop(self, key: K) -> None:
        entry = self._entries.pop(key, None)
        self._total -= entry[1] if entry else 0

    def drop(self, unwanted: Callable[[V], bool]) -> None:
        """Forget every entry whose value is unwanted."""
        for key in [key for key, (value, _) in self._entries.items() if unwanted(value)]:
            self.pop(key)

    def __len__(self) -> int:
        return len(self._entries)
