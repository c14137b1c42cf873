"""Finished calls inside agent steps, on their way to the run's owner: never paid twice, even when the owner dies in between."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

from ray.exceptions import RayError

from actors.names import forget, handle
from runtime.errors import StepFailed
from runtime.gather import Gather
from runtime.steps.protocol import StepCall

RETRY_SECONDS = 0.2
MOST = 64
"""Calls that travel together."""
OWNER_SECONDS = 600.0
"""How long a finished call is kept for the run's next owner. By then the run has failed over many times, or nobody wants it."""


Told = tuple[str, dict[str, Any]]
"""A step's key, the body of a finished call of it."""


class Post:
    """Finished calls of one run on their way to one owner: together, when a map makes many. The answer comes when all of them are on disk."""

    def __init__(self, owner: str, run_id: str, epoch: int) -> None:
        self._owner, self._run_id, self._epoch = owner, run_id, epoch
        self._waiting: list[tuple[Told, asyncio.Future[bool | None]]] = []
        self.asked = 0
        """How many wait for an answer."""
        self._gather = Gather(self._flush)
        self._sending: set[asyncio.Task[None]] = set()

    async def hand_over(self, step_key: str, body: dict[str, Any]) -> bool | None:
        """Whether the owner has journalled it; None when nobody answered: it is dead, or our handle is of an actor that had its name before."""
        answer: asyncio.Future[bool | None] = asyncio.get_running_loop().create_future()
        self._waiting.append(((step_key, body), answer))
        self.asked += 1
        self._gather.soon()
        try:
            return await answer
        finally:
            self.asked -= 1

    def _flush(self) -> int:
        sent, self._waiting = self._waiting, []
        for begin in range(0, len(sent), MOST):
            task = asyncio.get_running_loop().create_task(self._send(sent[begin : begin + MOST]))
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)
        return len(sent)

    async def _send(self, calls: list[tuple[Told, asyncio.Future[bool | None]]]) -> None:
        answers: list[bool | None] = [None] * len(calls)
        try:
            answers = await handle(self._owner).record.remote(self._run_id, self._epoch, [told for told, _ in calls])
        except (RayError, ValueError):
            forget(self._owner)
        finally:
            for (_, answer), taken in zip(calls, answers, strict=True):
                if not answer.done():  # whoever recorded it may have been canceled
                    answer.set_result(taken)


class Recorder:
    """Knows who owns the runs whose steps are in flight here; a new owner asks for the step again and so makes itself known."""

    def __init__(self) -> None:
        self._owners: dict[str, tuple[int, str, float]] = {}
        """Run → (epoch, owner's actor, when it last asked)."""
        self._changed = asyncio.Event()
        self._posts: dict[tuple[str, str, int], Post] = {}

    def belongs(self, calls: Sequence[StepCall], owner: str) -> None:
        """These calls were asked for by this actor, so it owns their runs."""
        now = time.monotonic()
        for call in calls:
            if call.kind == "agent" and self._epoch(call.run_id) <= call.epoch:
                self._owners[call.run_id] = (call.epoch, owner, now)
                self._changed.set()

    async def record(self, call: StepCall, index: int | None, body: dict[str, Any]) -> None:
        """Have the owner journal a finished call; when it is gone, keep the call and hand it to the next one. Raises StepFailed."""
        refused = 0
        try:
            async with asyncio.timeout(OWNER_SECONDS):
                while True:
                    epoch, owner, _ = await self._owner(call.run_id, beyond=refused)
                    taken = await self._hand_over((owner, call.run_id, epoch), call.step_key, {**body, "index": index})
                    if taken:
                        return
                    if taken is None:
                        await asyncio.sleep(RETRY_SECONDS)
                    else:
                        refused = epoch
        except TimeoutError:
            raise StepFailed("owner_lost", "nobody owns the run any more, so its model call cannot be journalled") from None

    def forget_old(self) -> None:
        """Drop what nobody has asked for in a long time and what may have ended; a run that goes on asks again."""
        horizon = time.monotonic() - 24 * 3600
        self._owners = {run_id: entry for run_id, entry in self._owners.items() if entry[2] > horizon}

    def _epoch(self, run_id: str) -> int:
        known = self._owners.get(run_id)
        return known[0] if known else 0

    async def _owner(self, run_id: str, *, beyond: int) -> tuple[int, str, float]:
        """The owner of an epoch after `beyond`, waiting for it if need be."""
        while self._epoch(run_id) <= beyond:
            self._changed.clear()
            await self._changed.wait()
        return self._owners[run_id]

    async def _hand_over(self, address: tuple[str, str, int], step_key: str, body: dict[str, Any]) -> bool | None:
        post = self._posts.setdefault(address, Post(*address))
        try:
            return await post.hand_over(step_key, body)
        finally:
            if not post.asked:
                self._posts.pop(address, None)
