"""Idle connections are closed when their time is over. The pool itself looks only when the next request comes, which may be never."""

import asyncio
from collections.abc import Sequence
from typing import Protocol

KEPT_SECONDS = 4.0
"""So long a connection that nobody uses waits for the next request: less than the five seconds after which many servers close theirs."""

MOST_IDLE = 32
"""So many wait at a time: a pool asks the socket of each of them, twice for every request (with 64 of them, 0.6 ms of CPU a request)."""


class Connection(Protocol):
    """What httpcore2 tells of a connection, and how it is closed: at once, as far as other users of the pool are concerned."""

    def is_idle(self) -> bool: ...
    def has_expired(self) -> bool: ...
    async def aclose(self) -> None: ...


class Pool(Protocol):
    """An httpcore2.AsyncConnectionPool."""

    @property
    def connections(self) -> Sequence[Connection]: ...


class Expiry:
    """Looks after the idle connections of one pool, on one event loop, for as long as it has any."""

    def __init__(self, pool: Pool, seconds: float) -> None:
        """`seconds`: the pool's own `keepalive_expiry`."""
        self._pool, self._seconds = pool, seconds
        self._timer: asyncio.TimerHandle | None = None
        self._closing: set[asyncio.Task[None]] = set()

    def watch(self) -> None:
        """Look again and again until no connection is left. To be called with every request; nearly all of these calls do nothing."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._seconds, self._look)

    def stop(self) -> None:
        """Look no more: the pool is closed as a whole."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        connections = self._pool.connections
        over = [connection for connection in connections if connection.is_idle() and connection.has_expired()]
        if over:
            task = asyncio.get_running_loop().create_task(_close(over))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)
        if len(over) < len(connections):
            self.watch()


async def _close(connections: Sequence[Connection]) -> None:
    # A request that has just been given one of these notices that it is closed and gets another.
    for connection in connections:
        if connection.is_idle():  # it may have been taken meanwhile
            await connection.aclose()
