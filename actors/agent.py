"""AgentActor: an async Ray actor that carries hundreds of I/O-bound steps out at once."""

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence

import ray

from actors import deltas, wire
from actors.directory import PULSE_SECONDS, Directory, Pulse, Report
from actors.envelopes import credentials
from actors.limits import SupervisedCallCache, exchange
from actors.names import AGENT, unlisted
from actors.process import Busy, end_with_raylet, leave, settings, settle_memory, watch_the_loop
from actors.purse import SupervisorPurse
from actors.recorder import Recorder
from actors.sigterm import HearsSigterm
from runtime.agents.loop import warm
from runtime.artifacts.open import open_artifacts
from runtime.deltas.fan import Fan
from runtime.deltas.subscriptions import Subscriptions
from runtime.ids import uuid7
from runtime.limits.limiter import Limiter
from runtime.logs import set_up_logs
from runtime.metrics import Metrics
from runtime.steps.context import StepServices
from runtime.steps.flights import FlightKey
from runtime.steps.runner import StepRunner
from runtime.tracing.open import close_tracer, open_tracer

HEARD_SECONDS = 2 * PULSE_SECONDS
"""After this long every owner knows that an actor takes no more work."""
STALL_SECONDS = 30.0
"""How long the event loop may stand still: an `async` function that computes for longer belongs into a step with `resources`."""


class AgentActor(HearsSigterm):
    """Wraps one StepRunner. Loses everything when it dies; the owners of its steps then notice and decide."""

    async def __init__(self, name: str) -> None:  # type: ignore[misc]  # Ray awaits an async constructor
        wanted = settings()
        set_up_logs(wanted)
        self._settings, self._name, self._leaving = wanted, name, False
        self._metrics = Metrics()
        self._recorder = Recorder()
        self._keys = credentials(wanted)
        self._limiter = Limiter(exchange, f"{name}/{uuid7()}", waited=self._metrics.limiter_wait, refused=self._metrics.limiter_refusal)
        self._purse = SupervisorPurse()
        self._said = Fan()
        self._subscriptions = Subscriptions(self._said)
        self._tracer = open_tracer(wanted, name)
        self._runner = StepRunner(self._services())
        self._pulse = Pulse(self._report, self._learn, self._metrics)
        if wanted.run_mode == "live":
            await warm()
        settle_memory()
        self._busy = Busy()  # from here on: what starting costs is no load
        self._pulse.start()
        self._closed = asyncio.Event()
        self._watchdogs = [asyncio.create_task(work) for work in (end_with_raylet(), self._leave_on_sigterm(), self._be_watched())]

    async def run(self, owner: str, data: bytes) -> bytes:
        """One step, one call: the cheapest way for one (1.1 ms there and back). `owner`: name of the WorkflowActor that asks."""
        call = wire.calls(data)
        self._recorder.belongs(call, owner)
        return wire.encode([result async for batch in self._runner.execute(call) for result in batch])

    async def run_many(self, owner: str, data: bytes) -> AsyncGenerator[bytes, None]:
        """Many steps in one call; results in batches as they come (20,000 steps a second and more)."""
        calls = wire.calls(data)
        self._recorder.belongs(calls, owner)
        async for batch in self._runner.execute(calls):
            yield wire.encode(batch)

    @unlisted
    async def holding(self, wanted: Sequence[tuple[str, FlightKey]]) -> list[bool]:
        """Which of these (run, key) are under way here or have just finished: a new owner looks for what the one before had in flight."""
        return [self._runner.holds(run_id, key) for run_id, key in wanted]

    @unlisted
    async def cancel(self, run_id: str, step: str | None) -> None:
        """Stop what is in flight here of a run or of one of its steps."""
        await self._runner.cancel(run_id, step)

    @unlisted
    async def follow_deltas(self, subscriber: str, add: Sequence[str], drop: Sequence[str]) -> bool:
        """Another process wants to hear what is said in these runs; see Subscriptions.follow."""
        return self._subscriptions.follow(subscriber, add, drop)

    @unlisted
    async def deltas(self, subscriber: str) -> bytes:
        """What has been said in the runs it follows since it last asked, as soon as there is something; see Subscriptions.poll."""
        return deltas.encode(await self._subscriptions.poll(subscriber))

    @unlisted
    async def hello(self) -> str:
        """That it answers."""
        return self._name

    @unlisted
    async def ping(self) -> int:
        """Steps in flight; that it answers is the news."""
        return self._runner.in_flight

    @unlisted
    async def wait_closed(self) -> None:
        """Pending until `close`: whoever waits hears of this process's death at once."""
        await self._closed.wait()

    async def close(self) -> None:
        """Report for the last time and give connections and threads back; the caller kills the process then."""
        await self._runner.close()
        await self._limiter.close()
        await self._pulse.stop()
        await close_tracer(self._tracer)
        self._closed.set()

    async def _leave_on_sigterm(self) -> None:
        """Take what still comes until every owner has heard of it, let what is in flight end within the grace, leave."""
        await self.sigterm.wait()
        self._leaving = True
        await self._pulse.once()
        until = time.monotonic() + self._settings.drain_ms / 1000
        await asyncio.sleep(min(HEARD_SECONDS, self._settings.drain_ms / 1000))
        while self._runner.in_flight and time.monotonic() < until:  # noqa: ASYNC110 - the runner has no event for it, and this is the end
            await asyncio.sleep(0.05)
        await self.close()
        leave("SIGTERM")

    async def _be_watched(self) -> None:
        """A step that blocks the loop blocks all others here, and no timeout reaches it: end with it, the engine finds out who it was."""
        while True:
            watch_the_loop(STALL_SECONDS)
            await asyncio.sleep(1)

    def _services(self) -> StepServices:
        return StepServices(
            self._settings,
            open_artifacts(self._settings),
            record=self._recorder.record,
            observe=self._metrics.provider_call,
            spend=self._metrics.spent,
            credentials=self._keys,
            deltas=self._said,
            limiter=self._limiter,
            call_cache=SupervisedCallCache(),
            purse=self._purse,
            tracer=self._tracer,
        )

    def _learn(self, directory: Directory) -> None:
        self._keys.heard(directory.keys)
        self._limiter.heard(directory.limited)
        self._purse.heard(directory.budgets)

    def _report(self) -> Report:
        self._recorder.forget_old()
        return Report(self._name, AGENT, self._runner.in_flight, self._busy(), leaving=self._leaving)


RemoteAgentActor = ray.remote(AgentActor)
