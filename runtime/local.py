"""The whole platform in one process on asyncio, without Ray: for tests, for `agentic run --local`, and to debug.

The same host, journal, engine and step runner as in a cluster; only who carries the steps out differs.
"""

import asyncio
import os
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Self

from runtime.agents.credentials import FromSettings
from runtime.artifacts.open import open_artifacts
from runtime.budgets.cashier import Cashier
from runtime.clock import Clock, SystemClock
from runtime.courier import Courier, Sender
from runtime.deltas.fan import Fan
from runtime.gateway import Gateway
from runtime.host import Host
from runtime.ids import uuid7
from runtime.keys.base_urls import BaseUrls
from runtime.keys.credentials import StoredCredentials
from runtime.limits.desk import Desk
from runtime.limits.limiter import Limiter
from runtime.logs import know_secrets
from runtime.metrics import Metrics, render
from runtime.retention import Janitor
from runtime.scheduling.scheduler import Scheduler
from runtime.scheduling.service import Scheduling
from runtime.secrets import SecretBox, open_box
from runtime.settings import Settings
from runtime.steps.addresses import AllowList
from runtime.steps.context import StepServices
from runtime.steps.isolated import LocalIsolated
from runtime.steps.outbound import Outbound
from runtime.steps.protocol import Executor, StepCall, StepResult
from runtime.steps.runner import StepRunner
from runtime.steps.stage import Stage
from runtime.store.open import Store, open_store
from runtime.store.protocol import OwnerRow
from runtime.store.sealed import checked_box
from runtime.tracing.open import close_tracer, open_tracer
from runtime.tracing.spans import Tracer
from runtime.version import VERSION


class LocalExecutor(Executor):
    """Steps in this process; those with `resources` in one of their own, unless a stage stands in for the world."""

    def __init__(self, services: StepServices) -> None:
        self._shared = StepRunner(services)
        self._isolated = LocalIsolated(services)
        self._staged = services.stage is not None

    async def execute(self, calls: Sequence[StepCall]) -> AsyncGenerator[list[StepResult], None]:
        shared = [call for call in calls if self._staged or "resources" not in call.spec]
        alone = [] if self._staged else [call for call in calls if "resources" in call.spec]
        async for batch in _merged(self._shared.execute(shared), self._isolated.execute(alone)):
            yield batch

    async def cancel(self, run_id: str, step: str | None = None) -> None:
        await asyncio.gather(self._shared.cancel(run_id, step), self._isolated.cancel(run_id, step))

    async def close(self) -> None:
        """Stop everything in flight."""
        await asyncio.gather(self._shared.close(), self._isolated.close())


class LocalRunner:
    """The gateway's way to a host in the same process."""

    def __init__(self, host: Host, metrics: Metrics, store: Store, desk: Desk, clock: Clock) -> None:
        self._host, self._desk, self._clock = host, desk, clock
        self._metrics = metrics
        self._store = store

    def nudge(self, run_ids: Sequence[str]) -> None:
        self._host.nudge(run_ids)

    async def watch(self, run_id: str, after: int, timeout: float) -> None:
        await self._host.watch(run_id, after, timeout)

    async def provider_limits(self, tenant: str) -> list[dict[str, Any]]:
        return self._desk.shown(tenant)

    async def metrics(self) -> bytes:
        await self.count()
        return render(await self._store.counts.totals(), await self._store.journal.active_runs())

    async def count(self) -> None:
        """Add what was counted here to the totals."""
        self._metrics.settle(await self._store.counts.add(self._metrics.batch(), self._clock.now()))
        await self._store.counts.count_ends()


class LocalPlatform:
    """`async with LocalPlatform(settings) as platform: platform.gateway …`

    Entering raises SecretUnreadable when SECRET_KEY does not open what is stored; nothing was changed then.
    """

    gateway: Gateway
    host: Host
    store: Store
    schedules: Scheduling
    tracer: Tracer | None

    def __init__(self, settings: Settings, *, clock: Clock | None = None, stage: Stage | None = None) -> None:
        """`stage`: stands in for the world outside. Nothing then works beside the runs: no schedule fires, no webhook is sent, nothing is cleaned up."""
        self.settings = settings
        self.deltas = Fan()
        self.clock = clock or SystemClock()
        self._stage = stage
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        know_secrets(self.settings)
        async with AsyncExitStack() as stack:
            self.store = await open_store(self.settings.database, durability=self.settings.durability)
            stack.push_async_callback(self.store.close)
            box = await checked_box(self.store, self.settings, self.clock.now())
            artifacts = open_artifacts(self.settings)
            metrics = Metrics()
            keys = local_keys(self.store, box, self.settings)
            # What steps do on a stage has happened nowhere: nobody is told of it.
            self.tracer = open_tracer(self.settings, "local") if self._stage is None else None
            stack.push_async_callback(close_tracer, self.tracer)
            desk = Desk()
            stack.callback(desk.close)
            limiter = Limiter(desk.exchange, f"local/{uuid7()}", waited=metrics.limiter_wait, refused=metrics.limiter_refusal)
            services = StepServices(
                self.settings,
                artifacts,
                record=self._record,
                observe=metrics.provider_call,
                spend=metrics.spent,
                credentials=keys,
                deltas=self.deltas,
                limiter=limiter,
                call_cache=self.store.cached_calls,
                stage=self._stage,
                purse=Cashier(self.store.money, self.clock),
                tracer=self.tracer,
            )
            executor = LocalExecutor(services)
            owner = new_owner("local")
            self.host = Host(
                owner=owner, store=self.store, artifacts=artifacts, executor=executor, settings=self.settings, tracer=self.tracer, clock=self.clock
            )
            runner = LocalRunner(self.host, metrics, self.store, desk, self.clock)
            stack.push_async_callback(runner.count)  # what is in flight at the end counts too
            stack.push_async_callback(limiter.close)
            stack.push_async_callback(executor.close)
            self.gateway = Gateway(self.store.journal, self.store.catalog, artifacts, runner, self.settings, self.clock)
            if self._stage is None:
                janitor = asyncio.create_task(Janitor(self.store.retention, artifacts, self.settings, self.clock).run(), name="janitor")
                stack.push_async_callback(stopped, janitor)
                courier = open_courier(self.store, self.settings)
                courier.start()
                stack.push_async_callback(courier.stop)  # after the host: what its last turns tell is sent too
            await self.host.start()
            stack.push_async_callback(self.host.stop, self.settings.drain_ms)
            self.schedules = Scheduling(self.gateway, self.store.schedules)
            if self._stage is None:
                scheduler = Scheduler(self.gateway, self.store.schedules, self.gateway.clock)
                scheduler.start()
                stack.push_async_callback(scheduler.stop)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._stack.__aexit__(kind, error, trace)

    async def _record(self, call: StepCall, index: int | None, body: dict[str, object]) -> None:
        await self.host.record(call.run_id, call.epoch, call.step_key, {**body, "index": index})


async def stopped(task: asyncio.Task[None]) -> None:
    """Cancel a task that runs for ever and wait for its end."""
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def open_courier(store: Store, settings: Settings) -> Courier:
    """The courier of a process, over its open store. Raises SecretUnreadable when the key file of this machine is damaged."""
    clock = SystemClock()
    return Courier(store.outbox, Sender(open_box(settings), lambda: Outbound(AllowList.parse(settings.outbound_allow)), clock), clock)


def local_keys(store: Store, box: SecretBox, settings: Settings) -> StoredCredentials:
    """The keys of model calls made in a process with an open store: it is asked each time."""
    return StoredCredentials(store.provider_keys.key, lambda: box, FromSettings(settings), BaseUrls(settings.outbound_allow), keep=0)


def new_owner(name: str) -> OwnerRow:
    """The row of a process that is about to own runs: a new id each time, so that a restarted process is a new owner."""
    return OwnerRow(owner=uuid7(), beat=0, started_at=SystemClock().now(), host=f"{socket.gethostname()}:{os.getpid()}", name=name, version=VERSION)


async def _merged(*streams: AsyncIterator[list[StepResult]]) -> AsyncGenerator[list[StepResult], None]:
    """Batches of several streams as they come."""
    queue: asyncio.Queue[list[StepResult] | BaseException | None] = asyncio.Queue()

    async def pump(stream: AsyncIterator[list[StepResult]]) -> None:
        try:
            async for batch in stream:
                queue.put_nowait(batch)
            queue.put_nowait(None)
        except Exception as failure:  # noqa: BLE001 - handed to whoever reads the merged stream
            queue.put_nowait(failure)

    tasks = [asyncio.create_task(pump(stream)) for stream in streams]
    try:
        open_streams = len(tasks)
        while open_streams:
            batch = await queue.get()
            if batch is None:
                open_streams -= 1
            elif isinstance(batch, BaseException):
                raise batch
            else:
                yield batch
    finally:
        for task in tasks:
            task.cancel()
