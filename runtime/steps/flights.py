"""What is under way in this process, who waits for it, and what finished after its owner had gone."""

import asyncio
import time
from collections import OrderedDict, deque
from dataclasses import replace
from typing import Any

from runtime.steps.context import Clock
from runtime.steps.protocol import Item, StepResult
from runtime.steps.values import Batch
from runtime.tracing.attempts import AttemptSpan

BATCH_RESULTS = 256
BATCH_BYTES = 2**20
KEPT_RESULTS = 10_000
KEPT_BYTES = 32 * 2**20
KEPT_SECONDS = 300.0

FlightKey = tuple[str, int | None]
"""Step key, index: with the run, what an execution is known by. Neither the epoch nor the attempt is part of it: a new owner,
who does not know what became of the last attempt, asks for the next one, and joins the one that is still under way."""


class Outbox:
    """Results on their way to one caller of `execute`, handed over in batches of whatever has gathered."""

    def __init__(self) -> None:
        self.expected = 0
        """Results that have not been taken yet."""
        self.closed = False
        """Nobody reads any more."""
        self._ready: deque[tuple[StepResult, int]] = deque()
        self._waiter: asyncio.Future[None] | None = None

    def put(self, result: StepResult, size: int) -> None:
        """Add a result of about `size` bytes."""
        self._ready.append((result, size))
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def take(self) -> list[StepResult]:
        """Wait for at least one result, then take at most 256 of them and about 1 MiB."""
        while not self._ready:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        taken: list[StepResult] = []
        room = BATCH_BYTES
        while self._ready and len(taken) < BATCH_RESULTS and (not taken or self._ready[0][1] <= room):
            result, size = self._ready.popleft()
            taken.append(result)
            room -= size
        self.expected -= len(taken)
        return taken


class Flight:
    """One attempt of one step or item, from the moment it is accepted to its result."""

    __slots__ = ("attempt", "batch", "clock", "done", "item", "key", "receivers", "span", "task")

    def __init__(self, batch: Batch, item: Item | None, key: FlightKey) -> None:
        self.batch = batch
        self.item = item
        self.key = key
        self.attempt = batch.call.attempt if item is None else item.attempt
        self.receivers: list[tuple[Outbox, int, int]] = []
        """Who gets the result, in which epoch they own the run, and which attempt they asked for."""
        self.task: asyncio.Task[None] | None = None
        self.clock: Clock | None = None
        self.span: AttemptSpan | None = None
        self.done = False

    def result(self, output: Any, error: dict[str, Any] | None, usage: dict[str, Any], artifacts: tuple[dict[str, Any], ...], **besides: Any) -> StepResult:
        """The result as the first receiver gets it; `besides` are `messages`, `asks` and `calls`."""
        call = self.batch.call
        index = None if self.item is None else self.item.index
        return StepResult(call.run_id, call.epoch, call.step, self.attempt, call.iteration, index, output, error, usage, artifacts, **besides)


class Kept:
    """The last results, for an owner that asks again: bounded in number, bytes and time."""

    def __init__(self) -> None:
        self._results: OrderedDict[tuple[str, FlightKey], tuple[StepResult, int, float]] = OrderedDict()
        self._size = 0

    def __len__(self) -> int:
        return len(self._results)

    def keep(self, key: FlightKey, result: StepResult, size: int) -> None:
        self._drop((result.run_id, key))
        self._results[result.run_id, key] = (result, size, time.monotonic() + KEPT_SECONDS)
        self._size += size
        while self._results and (len(self._results) > KEPT_RESULTS or self._size > KEPT_BYTES or self._oldest_expires() < time.monotonic()):
            self._drop(next(iter(self._results)))

    def has(self, run_id: str, key: FlightKey) -> bool:
        """Whether a result is kept."""
        return (run_id, key) in self._results

    def take(self, run_id: str, key: FlightKey, epoch: int, attempt: int) -> tuple[StepResult, int] | None:
        """What an owner was given before, as a result of `epoch` and `attempt`; None when there is none, it is too old, or it failed anyway.

        It may be the same owner: one whose commit had an unknown outcome reads its run anew, and has forgotten what came in meanwhile.
        """
        found = self._results.get((run_id, key))
        self._drop((run_id, key))
        if found is None or found[2] < time.monotonic():
            return None
        result, size, _ = found
        if epoch < result.epoch or result.error is not None:
            return None
        return replace(result, epoch=epoch, attempt=attempt), size

    def forget(self, run_id: str, step: str | None) -> None:
        """Drop what is kept of a run, or of one of its steps."""
        for key in [key for key, (result, _, _) in self._results.items() if key[0] == run_id and step in (None, result.step)]:
            self._drop(key)

    def _oldest_expires(self) -> float:
        return next(iter(self._results.values()))[2]

    def _drop(self, key: tuple[str, FlightKey]) -> None:
        if (dropped := self._results.pop(key, None)) is not None:
            self._size -= dropped[1]
