"""Reads that many callers want at the same moment are made once."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class SharedRead(Generic[K, V]):
    """Callers of one key that wait together share one read, and it always begins after each of them came.

    So nobody sees a value older than his own call, which a cache with a time limit could not promise,
    and a burst of n calls costs two reads instead of n.
    """

    def __init__(self, read: Callable[[K], Awaitable[V]]) -> None:
        self._read = read
        self._running: dict[K, asyncio.Task[V]] = {}
        self._waiting: dict[K, asyncio.Task[V]] = {}

    async def get(self, key: K) -> V:
        """The value of `key`, read after this call. Raises what the read raises."""
        if key not in self._running:
            task = self._running[key] = asyncio.create_task(self._run(key, None))
        elif key in self._waiting:
            task = self._waiting[key]
        else:
            task = self._waiting[key] = asyncio.create_task(self._run(key, self._running[key]))
        return await asyncio.shield(task)

    async def _run(self, key: K, before: asyncio.Task[V] | None) -> V:
        if before is not None:
            await asyncio.wait([before])
            self._running[key] = self._waiting.pop(key)
        mine = self._running[key]
        try:
            return await self._read(key)
        finally:
            if self._running.get(key) is mine and key not in self._waiting:
                del self._running[key]
