"""AgentActor: an async Ray actor that carries hundreds of I/O-bound steps out at once."""

import asyncio
from collections.abc import AsyncGenerator, Sequence

import ray

from actors import wire
from actors.directory import Pulse, Report
from actors.names import AGENT, unlisted
from actors.process import Busy, end_with_raylet, set_up_logs, settings, settle_memory
from actors.recorder import Recorder
from runtime.agents.loop import warm
from runtime.artifacts.open import open_artifacts
from runtime.metrics import Metrics
from runtime.steps.context import StepServices
from runtime.steps.flights import FlightKey
from runtime.steps.runner import StepRunner


class AgentActor:
    """Wraps one StepRunner. Loses everything when it dies; the owners of its steps then notice and decide."""

    async def __init__(self, name: str) -> None:  # type: ignore[misc]  # Ray awaits an async constructor
        wanted = settings()
        set_up_logs(wanted)
        self._name = name
        self._metrics = Metrics()
        self._recorder = Recorder()
        self._runner = StepRunner(StepServices(wanted, open_artifacts(wanted), record=self._recorder.record, observe=self._metrics.provider_call))
        self._pulse = Pulse(self._report, lambda _: None, self._metrics)
        if wanted.run_mode == "live":
            await warm()
        settle_memory()
        self._busy = Busy()  # from here on: what starting costs is no load
        self._pulse.start()
        self._closed = asyncio.Event()
        self._watchdog = asyncio.create_task(end_with_raylet())

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
        await self._pulse.stop()
        await self._runner.close()
        self._closed.set()

    def _report(self) -> Report:
        self._recorder.forget_old()
        return Report(self._name, AGENT, self._runner.in_flight, self._busy(), deltas=self._metrics.drain())


RemoteAgentActor = ray.remote(AgentActor)
