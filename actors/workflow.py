"""WorkflowActor: an async Ray actor around one Host. Each construction is a new owner; the journal's epochs keep it apart from the last."""

import asyncio
import os
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import ray

from actors.directory import Directory, Pulse, Report
from actors.executor import RayExecutor
from actors.fleet import Fleet
from actors.names import DEDICATED, WORKFLOW, unlisted
from actors.process import Busy, end, end_with_raylet, leave, marks_path, settings, settle_memory, watch_the_loop
from actors.runner import RayRunner
from actors.sigterm import HearsSigterm
from runtime.artifacts.open import open_artifacts
from runtime.host import Host
from runtime.local import new_owner
from runtime.logs import set_up_logs
from runtime.store.open import open_store
from runtime.tracing.open import close_tracer, open_tracer

STALL_LEASES = 3


class WorkflowActor(HearsSigterm):
    """All methods but `drain` are hints: they carry no data, and losing or doubling one changes nothing."""

    async def __init__(self, name: str, dedicated_to: str | None = None) -> None:  # type: ignore[misc]  # Ray awaits an async constructor
        wanted = settings()
        set_up_logs(wanted)
        self._settings = wanted
        self._name = name
        self._kind = DEDICATED if dedicated_to else WORKFLOW
        self._store = await open_store(wanted.database, durability=wanted.durability, migrate=False)
        self._tracer = open_tracer(wanted, name)
        self._fleet = Fleet(wanted.steps_per_agent_actor)
        self._others = RayRunner(self._store.journal)
        self._host = Host(
            owner=new_owner(name),
            store=self._store,
            artifacts=open_artifacts(wanted),
            executor=RayExecutor(name, self._fleet),
            settings=wanted,
            tracer=self._tracer,
            dedicated_to=dedicated_to,
            neighbours=self._others,
            marks=marks_path(name, wanted),
        )
        self._drained: asyncio.Task[None] | None = None
        self._busy = Busy()
        self._pulse = Pulse(self._report, self._learn)
        await self._pulse.once()
        await self._host.start()
        settle_memory()
        self._busy = Busy()  # from here on: what starting costs is no load
        self._pulse.start()
        self._watchdogs = [asyncio.create_task(work) for work in (end_with_raylet(), self._end_with_lease(), self._leave_on_sigterm(), self._be_watched())]

    @unlisted
    async def nudge(self, run_ids: Sequence[str]) -> None:
        """These runs have something to do."""
        self._host.nudge(run_ids)

    @unlisted
    async def owner_died(self, owner: str) -> None:
        """The Supervisor has seen this owner's process end."""
        self._host.owner_died(owner)

    @unlisted
    async def watch(self, run_id: str, after: int, timeout: float) -> None:
        """Return when the run has moved beyond `after`; see Host.watch."""
        await self._host.watch(run_id, after, timeout)

    @unlisted
    async def watch_many(self, wanted: Sequence[tuple[str, int, float]]) -> AsyncGenerator[list[int], None]:
        """Many watches (run id, after, timeout) in one call; yields the positions of those that are over."""
        over: asyncio.Queue[int] = asyncio.Queue()
        tasks = [asyncio.create_task(self._watch_one(position, one, over)) for position, one in enumerate(wanted)]
        left = len(tasks)
        while left:
            batch = [await over.get()]
            while not over.empty():
                batch.append(over.get_nowait())
            left -= len(batch)
            yield batch

    @unlisted
    async def record(self, run_id: str, epoch: int, calls: Sequence[tuple[str, dict[str, Any]]]) -> list[bool]:
        """Journal finished model and tool calls of a run, `(step key, body)` each. False: the run is no longer here, keep it for the next owner."""
        return list(await asyncio.gather(*(self._host.record(run_id, epoch, step_key, body) for step_key, body in calls)))

    @unlisted
    async def hello(self) -> str:
        """That it answers, and which owner it is."""
        return self._host.owner

    @unlisted
    async def stats(self) -> dict[str, Any]:
        """`{owner, runs, pid}`, for people and benchmarks."""
        return {"owner": self._host.owner, "runs": self._host.owned, "pid": os.getpid()}

    @unlisted
    async def wait_closed(self) -> None:
        """Pending for as long as this process lives: whoever waits hears of its death at once."""
        await self._host.wait_closed()

    async def drain(self, grace_ms: int) -> None:
        """Claim nothing new, finish or hand over what is here, leave. The caller kills the process then. A second call waits for the first."""
        if self._drained is None:
            self._drained = asyncio.create_task(self._drain(grace_ms))
        await self._drained

    async def _drain(self, grace_ms: int) -> None:
        await self._pulse.once()  # others hear that this one leaves, and it hears of the others, before it hands over
        await self._host.stop(grace_ms)
        await self._pulse.stop()
        await self._store.close()
        await close_tracer(self._tracer)

    async def _watch_one(self, position: int, wanted: tuple[str, int, float], over: asyncio.Queue[int]) -> None:
        try:
            await self._host.watch(*wanted)
        finally:
            over.put_nowait(position)

    async def _end_with_lease(self) -> None:
        await self._host.wait_closed()
        if self._drained is None:
            end("lease lost")

    async def _leave_on_sigterm(self) -> None:
        await self.sigterm.wait()
        await self.drain(self._settings.drain_ms)
        leave("SIGTERM")

    async def _be_watched(self) -> None:
        """A loop that stands still for three leases was replaced long ago: the process has nothing to give any more."""
        while True:
            watch_the_loop(STALL_LEASES * self._settings.lease_ms / 1000)
            await asyncio.sleep(self._settings.lease_ms / 4000)

    def _report(self) -> Report:
        return Report(self._name, self._kind, self._host.owned, self._busy(), leaving=self._drained is not None)

    def _learn(self, directory: Directory) -> None:
        self._fleet.update(directory.agents)
        self._others.update(directory)


RemoteWorkflowActor = ray.remote(WorkflowActor)
