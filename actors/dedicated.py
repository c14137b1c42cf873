"""Runs that want a WorkflowActor of their own: one actor each, started when the run can be claimed, ended when it no longer needs it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from ray.exceptions import RayError

from actors.directory import Report
from actors.names import dedicated
from actors.pool import retire, spawn_actor
from runtime.clock import Clock
from runtime.store.protocol import Journal, RunQuery

log = structlog.get_logger(__name__)

PAGE = 100
IDLE_REPORTS = 3
"""An actor that reports this often in a row that it owns nothing is done: its run has ended, or waits for something far away."""


class DedicatedActors:
    """At most `limit` at once; further runs stay queued until one ends."""

    def __init__(
        self,
        remote_class: Any,
        journal: Journal,
        clock: Clock,
        limit: int,
        *,
        drain: Callable[[Any], Awaitable[None]],
        died: Callable[[str, str], Awaitable[None]],
    ) -> None:
        self._class = remote_class
        self._journal = journal
        self._clock = clock
        self._limit = limit
        self._drain = drain
        self._died = died
        self._actors: dict[str, asyncio.Task[None]] = {}
        self._idle: dict[str, int] = {}

    def report(self, report: Report) -> None:
        """One of them has reported."""
        self._idle[report.name] = 0 if report.load else self._idle.get(report.name, 0) + 1

    async def tend(self) -> None:
        """Start an actor for each run that can be claimed, end those that are idle. Raises StoreUnavailable."""
        for name in [name for name, count in self._idle.items() if count >= IDLE_REPORTS and name in self._actors]:
            self._actors.pop(name).cancel()
            await self._end(name)
        room = self._limit - len(self._actors)
        if room <= 0:
            return
        query = RunQuery(tenant=None, isolation="dedicated", claimable_at=self._clock.now(), limit=min(room, PAGE))
        for row in await self._journal.runs(query):
            name = dedicated(row.run_id)
            if name not in self._actors:
                self._actors[name] = asyncio.create_task(self._keep(name, row.run_id))

    def adopt(self, names: list[str]) -> None:
        """Actors from before the Supervisor's restart."""
        for name in names:
            if name.startswith("dedicated-"):
                self._actors[name] = asyncio.create_task(self._keep(name, name.removeprefix("dedicated-")))

    async def drain(self) -> None:
        """Empty and end all of them."""
        names, self._actors = list(self._actors), {}
        await asyncio.gather(*(retire(name, self._drain) for name in names))

    async def _keep(self, name: str, run_id: str) -> None:
        """Until it dies: then its run is claimable again and gets a new actor in the next round."""
        actor, owner = spawn_actor(self._class, name, run_id, max_restarts=0), None
        try:
            owner = await actor.hello.remote()
            await actor.wait_closed.remote()
        except RayError as failure:
            log.warning("actor_died", actor=name, error=type(failure).__name__)
        if self._actors.pop(name, None) is not None:
            if owner is not None:
                await self._died(name, owner)
            await self._end(name)

    async def _end(self, name: str) -> None:
        self._idle.pop(name, None)
        await retire(name, self._drain)
