"""Deltas for other processes: each subscriber names the runs it wants and asks for what has come, again and again."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field

from runtime.deltas.buffer import Buffer
from runtime.deltas.delta import Delta
from runtime.deltas.fan import Fan

POLL_SECONDS = 10.0
"""How long an asker waits for the first delta."""
SILENT_SECONDS = 30.0
"""A subscriber that has not asked for so long is gone; it subscribes anew if it is not."""
MAX_SUBSCRIBERS = 1000
"""Processes that follow runs here. One more is not served until another has gone."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What one asker is given. `known`: whether the subscriber was known before it asked; if not, what it named earlier is forgotten."""

    known: bool
    lost: int = 0
    """Characters that had no room here before they were asked for."""
    deltas: list[Delta] = field(default_factory=list)


class _Subscriber:
    def __init__(self) -> None:
        self.buffer = Buffer()
        self.run_ids: set[str] = set()
        self.timer: asyncio.TimerHandle | None = None


class Subscriptions:
    """The subscribers of one process's deltas."""

    def __init__(self, fan: Fan) -> None:
        self._fan = fan
        self._subscribers: dict[str, _Subscriber] = {}

    def follow(self, name: str, add: Iterable[str], drop: Iterable[str]) -> bool:
        """From now on the subscriber wants `add` besides and `drop` no more. False: it was not known, so this is all it wants."""
        known, subscriber = self._subscriber(name)
        if subscriber is None:
            return False
        for run_id in add:
            subscriber.run_ids.add(run_id)
            self._fan.join(run_id, subscriber.buffer)
        for run_id in drop:
            subscriber.run_ids.discard(run_id)
            self._fan.leave(run_id, subscriber.buffer)
        return known

    async def poll(self, name: str) -> Batch:
        """What has come for this subscriber, as soon as there is something or after 10 seconds."""
        known, subscriber = self._subscriber(name)
        if not known or subscriber is None:
            return Batch(known=False)
        try:
            async with asyncio.timeout(POLL_SECONDS):
                lost, deltas = await subscriber.buffer.take()
        except TimeoutError:
            return Batch(known=True)
        return Batch(known=True, lost=lost, deltas=deltas)

    def _subscriber(self, name: str) -> tuple[bool, _Subscriber | None]:
        known = self._subscribers.get(name)
        if known is None and len(self._subscribers) >= MAX_SUBSCRIBERS:
            return False, None
        subscriber = known or self._subscribers.setdefault(name, _Subscriber())
        if subscriber.timer is not None:
            subscriber.timer.cancel()
        subscriber.timer = asyncio.get_running_loop().call_later(SILENT_SECONDS, self._expire, name)
        return known is not None, subscriber

    def _expire(self, name: str) -> None:
        subscriber = self._subscribers.pop(name)
        for run_id in subscriber.run_ids:
            self._fan.leave(run_id, subscriber.buffer)
