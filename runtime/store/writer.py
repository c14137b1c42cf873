"""Group commit: take everything that waits, one transaction, resolve the futures after COMMIT, take the next.

An idle system commits at once. While batches are crowded the writer waits a moment before the next: a transaction costs nearly the
same for one operation as for thirty, so that a millisecond of patience buys throughput where there is a queue anyway.
"""

import asyncio
from collections import deque
from typing import Any, TypeVar

from runtime.errors import Overloaded, StoreUnavailable
from runtime.failpoints import ARMED, without
from runtime.gather import CROWD, MOMENT
from runtime.store.commit import commit
from runtime.store.database import Database
from runtime.store.operations import Operation
from runtime.store.points import acknowledge_early

R = TypeVar("R")

MAX_BATCH = 256
MAX_BATCH_BYTES = 2**20
MAX_QUEUE = 20_000
MAX_QUEUE_BYTES = 2**27


class Writer:
    """The one writer of a process. Belongs to the event loop it was made in."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._queue: deque[Operation[Any]] = deque()
        self._bytes = 0
        self._filled = asyncio.Event()
        self._closed = False
        self._crowded = False
        self.failing = False
        """Whether the last batch could not be written: the database is away, or has no room."""
        self._loop = asyncio.get_running_loop()
        self._task = self._loop.create_task(self._run(), name="store-writer")

    async def write(self, operation: Operation[R]) -> R:
        """Carry out one operation; returns after COMMIT. Raises Overloaded, StoreUnavailable, or what the operation ends with.

        A caller that is canceled meanwhile learns nothing, but the operation is carried out.
        """
        if self._closed:
            raise StoreUnavailable("the store is closed")
        if len(self._queue) >= MAX_QUEUE or self._bytes >= MAX_QUEUE_BYTES:
            raise Overloaded("too many writes wait for the database", retry_after=1)
        operation.future = self._loop.create_future()
        self._queue.append(operation)
        self._bytes += operation.size
        self._filled.set()
        return await operation.future

    async def _run(self) -> None:
        while not (self._closed and not self._queue):
            await self._filled.wait()
            if self._crowded and not self._closed:
                await asyncio.sleep(MOMENT)
            batch = self._take()
            self._crowded = len(batch) >= CROWD
            if batch:
                await self._carry_out(batch)
            if not self._queue and not self._closed:
                self._filled.clear()

    def _take(self) -> list[Operation[Any]]:
        batch: list[Operation[Any]] = []
        size = 0
        while self._queue and len(batch) < MAX_BATCH and (not batch or size + self._queue[0].size <= MAX_BATCH_BYTES):
            operation = self._queue.popleft()
            size += operation.size
            batch.append(operation)
        self._bytes -= size
        return batch

    async def _carry_out(self, batch: list[Operation[Any]]) -> None:
        if ARMED and without("acknowledge"):
            acknowledge_early(batch)
        try:
            await self._database.run_writer(lambda: commit(self._database, batch))
        except Exception as error:  # noqa: BLE001 - the writer must outlive anything; the callers get the error
            for operation in batch:
                operation.outcome = error
        self.failing = all(isinstance(operation.outcome, StoreUnavailable) for operation in batch)
        for operation in batch:
            outcome = operation.outcome
            if operation.future.done():
                continue
            if isinstance(outcome, Exception):
                operation.future.set_exception(outcome)
            else:
                operation.future.set_result(outcome)

    async def close(self) -> None:
        """Carry out what waits, then stop."""
        self._closed = True
        self._filled.set()
        await self._task
