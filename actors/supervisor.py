"""Supervisor: the one detached actor. Keeps the pools at their size, tells the living who died, fires schedules, sends webhooks, counts
the metrics of the cluster, lets what is old go, and says when models may be asked.

It keeps nothing that matters: without it runs go on, dead owners are noticed by their heartbeats a little later, and ticks are caught up.
"""

import asyncio
from dataclasses import replace
from typing import Any

import ray
import structlog
from ray.exceptions import RayError

from actors.agent import RemoteAgentActor
from actors.capacity import agent_bounds, agents_needed, workflow_bounds, workflows_needed
from actors.dedicated import DedicatedActors
from actors.directory import Directory, Report
from actors.names import AGENT, DEDICATED, SUPERVISOR, WORKFLOW, handle, living, unlisted
from actors.pool import Pool, spawn_actor
from actors.process import end_with_raylet, settings
from actors.runner import RayRunner
from actors.workflow import RemoteWorkflowActor
from runtime.artifacts.open import open_artifacts
from runtime.budgets.cashier import Cashier
from runtime.clock import SystemClock
from runtime.errors import Overloaded, StoreUnavailable
from runtime.gateway import Gateway
from runtime.limits.desk import Desk
from runtime.limits.messages import Answer as Permits
from runtime.limits.messages import Batch as Asked
from runtime.local import open_courier
from runtime.logs import set_up_logs
from runtime.metrics import Batch, render
from runtime.money.purse import Answer, Wish
from runtime.retention import Janitor
from runtime.scheduling.scheduler import Scheduler
from runtime.store.cached_call_protocol import CachedCall
from runtime.store.key_protocol import ProviderKeyRow
from runtime.store.open import open_store

log = structlog.get_logger(__name__)

TEND_SECONDS = 0.5
COUNT_SECONDS = 1.0


class SupervisorActor:
    """Everything here can be rebuilt from the names of the living actors and the database."""

    async def __init__(self, name: str) -> None:  # type: ignore[misc]  # Ray awaits an async constructor
        del name  # it is always SUPERVISOR
        self._settings = settings()
        set_up_logs(self._settings)
        self._store = await open_store(self._settings.database, durability=self._settings.durability)
        self._clock = SystemClock()
        self._desk = Desk()
        self._active, self._counted, self._keys, self._budgets = 0, 0.0, "", ""
        self._cashier = Cashier(self._store.money, self._clock)
        self._open_pools()
        self._cores = float(ray.cluster_resources().get("CPU", 1))
        self._open_scheduler()
        self._watchdog = asyncio.create_task(end_with_raylet())
        self._tending = asyncio.create_task(self._tend_forever())
        janitor = Janitor(self._store.retention, open_artifacts(self._settings), self._settings, self._clock)
        self._cleaning = asyncio.create_task(janitor.run())
        self._courier = open_courier(self._store, self._settings)
        self._courier.start()

    def _open_pools(self) -> None:
        resources = ray.cluster_resources()
        memory, cores = resources.get("memory", 2**30), resources.get("CPU", 1)
        bounds = workflow_bounds(self._settings, memory)
        self._workflows = Pool(WORKFLOW, RemoteWorkflowActor, bounds, drain=self._drain_workflow, died=self._owner_died)
        self._agents = Pool(AGENT, RemoteAgentActor, agent_bounds(self._settings, memory, cores), drain=self._drain_agent, died=self._agent_died)
        self._dedicated = DedicatedActors(RemoteWorkflowActor, self._store.journal, self._clock, bounds.most, drain=self._drain_workflow, died=self._owner_died)
        names = living()
        self._workflows.adopt(names)
        self._agents.adopt(names)
        self._dedicated.adopt(names)
        self._workflows.resize(1)
        self._agents.resize(1)

    def _open_scheduler(self) -> None:
        """Two Supervisors may live for a while, of two clusters on one database: a tick starts once all the same."""
        self._runner = RayRunner(self._store.journal, self._clock)
        gateway = Gateway(self._store.journal, self._store.catalog, open_artifacts(self._settings), self._runner, self._settings, self._clock)
        self._scheduler = Scheduler(gateway, self._store.schedules, self._clock)
        self._scheduler.start()

    @unlisted
    async def report(self, report: Report) -> Directory:
        """What a process did in the last second; the answer says who is there, and what of it is counted for good."""
        if report.kind == WORKFLOW:
            self._workflows.report(report)
        elif report.kind == AGENT:
            self._agents.report(report)
        elif report.kind == DEDICATED:
            self._dedicated.report(report)
        return replace(self._directory(), counted=await self._added(report.batch))

    async def _added(self, batch: Batch | None) -> int:
        """The number of the batch, once it is in the database; 0 while that is away: then it comes again, as it is."""
        try:
            return 0 if batch is None else await self._store.counts.add(batch, self._clock.now())
        except (StoreUnavailable, Overloaded) as failure:
            log.warning("batch_not_counted", source=batch.source if batch else None, error=str(failure))
            return 0

    @unlisted
    async def envelopes(self, tenant: str, provider: str) -> list[ProviderKeyRow]:
        """What this tenant has stored for this provider: one row, encrypted, or none. It is opened where the call is made."""
        row = await self._store.provider_keys.key(tenant, provider)
        return [] if row is None else [row]

    @unlisted
    async def permits(self, asked: Asked) -> Permits:
        """What an AgentActor says of its model calls; answered when one of them may go out, or after a few seconds."""
        return await self._desk.exchange(asked)

    @unlisted
    async def provider_limits(self, tenant: str) -> list[dict[str, Any]]:
        """What the limiter knows of this tenant's keys and the operator's."""
        return self._desk.shown(tenant)

    @unlisted
    async def cached_call(self, tenant: str, digest: str, now: int) -> list[CachedCall]:
        """The kept answer to this question, or none."""
        found = await self._store.cached_calls.find(tenant, digest, now)
        return [] if found is None else [found]

    @unlisted
    async def keep_call(self, call: CachedCall) -> None:
        """Keep an answer."""
        await self._store.cached_calls.keep(call)

    @unlisted
    async def budgets(self) -> tuple[str, list[tuple[str, str, str]]]:
        """The version of the budgets people have set, and (tenant, scope, name) of each. The version first: what comes between is heard of."""
        version = await self._store.money.version()
        return version, list(await self._store.money.named())

    @unlisted
    async def reserve(self, wish: Wish) -> Answer:
        """Whether a model call may be made. The database decides, so that it is right also while two Supervisors live."""
        return await self._cashier.reserve(wish)

    @unlisted
    async def release(self, wish: Wish) -> None:
        """A call that was granted was not made, or has failed."""
        await self._cashier.release(wish)

    @unlisted
    async def ready(self) -> None:
        """Return when both pools have their least size."""
        await self._agents.ready()
        await self._workflows.ready()

    @unlisted
    async def metrics(self) -> bytes:
        """The promised metrics of the whole cluster as Prometheus text."""
        await self._count()
        return render(await self._store.counts.totals(), self._active)

    async def drain(self) -> None:
        """Stop everything in order: owners hand their runs over first, then those who carried steps out leave."""
        self._tending.cancel()
        self._cleaning.cancel()
        await asyncio.gather(self._cleaning, return_exceptions=True)
        await self._scheduler.stop()
        await asyncio.gather(self._workflows.drain(), self._dedicated.drain())
        await self._agents.drain()
        self._desk.close()
        await self._courier.stop()
        await self._store.close()

    async def _tend_forever(self) -> None:
        while True:
            try:
                await self._tend()
            except StoreUnavailable as failure:
                log.warning("store_unavailable", error=str(failure))
            await asyncio.sleep(TEND_SECONDS)

    async def _tend(self) -> None:
        await self._count()
        self._runner.update(self._directory())
        loads = [report.load for report in self._workflows.reports()]
        self._workflows.resize(workflows_needed(loads, self._settings.runs_per_actor, self._active))
        agents = self._agents.reports()
        busy = [report.busy for report in agents]
        self._agents.resize(agents_needed([report.load for report in agents], busy, self._settings.steps_per_agent_actor, self._cores))
        await self._dedicated.tend()

    def _directory(self) -> Directory:
        return Directory(self._workflows.loads(), self._agents.loads(), self._keys, self._desk.limited(), self._budgets)

    async def _count(self) -> None:
        """The runs that have not ended, those that have, and whether provider keys have changed, from the database, at most once a second."""
        now = self._clock.monotonic()
        if now - self._counted >= COUNT_SECONDS:
            self._counted = now
            await self._store.counts.count_ends()
            self._active = await self._store.journal.active_runs()
            self._keys = await self._store.provider_keys.version()
            self._budgets = await self._store.money.version()

    async def _owner_died(self, name: str, owner: str) -> None:
        """Do not wait for the lease: free its runs now, and have the others look for them. Wrong notices are harmless (epochs)."""
        try:
            freed = await self._store.journal.bury([owner], now=self._clock.now())
        except StoreUnavailable as failure:
            log.warning("bury_failed", owner=owner, error=str(failure))
            return
        log.info("owner_buried", actor=name, owner=owner, runs=freed)
        for other in self._workflows.others(name):
            try:
                handle(other).owner_died.remote(owner)
            except (RayError, ValueError):
                log.info("hint_lost", actor=other)

    async def _agent_died(self, name: str, owner: str) -> None:  # noqa: ARG002 - AgentActors own nothing
        """Owners notice by their failed calls; Ray starts the actor anew. What its calls held of the limiter is free."""
        self._desk.died(name)

    async def _drain_workflow(self, actor: Any) -> None:
        await actor.drain.remote(self._settings.drain_ms)

    async def _drain_agent(self, actor: Any) -> None:
        """Owners send nothing more once the next directory has reached them; wait for what is in flight, within the grace."""
        until = self._clock.monotonic() + self._settings.drain_ms / 1000
        while await actor.ping.remote() and self._clock.monotonic() < until:  # noqa: ASYNC110 - the other process has no event to wait for
            await asyncio.sleep(0.1)
        await actor.close.remote()


RemoteSupervisor = ray.remote(SupervisorActor)


def ensure_supervisor() -> Any:
    """The Supervisor of this cluster, started if there is none."""
    return spawn_actor(RemoteSupervisor, SUPERVISOR, max_concurrency=10_000)
