"""Finished calls inside agent steps, on their way to the run's owner: never paid twice, even when the owner dies in between."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

from ray.exceptions import RayError

from actors.names import forget, handle
from runtime.errors import StepFailed
from runtime.steps.protocol import StepCall

RETRY_SECONDS = 0.2
OWNER_SECONDS = 600.0
"""How long a finished call is kept for the run's next owner. By then the run has failed over many times, or nobody wants it."""


class Recorder:
    """Knows who owns the runs whose steps are in flight here; a new owner asks for the step again and so makes itself known."""

    def __init__(self) -> None:
        self._owners: dict[str, tuple[int, str, float]] = {}
        """Run → (epoch, owner's actor, when it last asked)."""
        self._changed = asyncio.Event()

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
                    taken = await self._hand_over(owner, call, epoch, {**body, "index": index})
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

    @staticmethod
    async def _hand_over(owner: str, call: StepCall, epoch: int, body: dict[str, Any]) -> bool | None:
        """Whether the owner has journalled it; None when nobody answered: it is dead, or our handle is of an actor that had its name before."""
        try:
            taken: bool = await handle(owner).record.remote(call.run_id, epoch, call.step_key, body)
        except (RayError, ValueError):
            forget(owner)
            return None
        return taken
