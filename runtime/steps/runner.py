"""Carries steps out in this event loop: many at once, cheaply, each attempt with its timeout, each result exactly once.

A flight is one attempt of one step or item. Workers take flights from a lane one after the other; the moment one of them has to
wait, the next worker takes over. A thousand items that never wait cost two tasks, a thousand that do cost a thousand.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import replace
from functools import partial

import structlog
from pydantic_core import to_json

from runtime.errors import AgenticError, StepFailed
from runtime.failpoints import ARMED, reach
from runtime.logs import about
from runtime.steps.agent import AgentKind
from runtime.steps.code import CodeKind
from runtime.steps.context import Clock, StepServices, Work
from runtime.steps.flights import Flight, FlightKey, Kept, Outbox
from runtime.steps.http import HttpKind
from runtime.steps.outcome import failure, plain, tidy
from runtime.steps.protocol import Executor, StepCall, StepResult
from runtime.steps.python import Caller, PythonKind
from runtime.steps.stage import Staged, StepKindRunner
from runtime.steps.values import Batch, LoadedValues
from runtime.tracing.attempts import AttemptSpan, begin

SLICE_SECONDS = 0.005
"""How long a worker may keep the event loop before others get their turn."""
NEXT_WORKERS = 32
"""Workers woken together once a lane is known to wait."""

log = structlog.get_logger(__name__)


def _usual_kinds(services: StepServices) -> Mapping[str, StepKindRunner]:
    caller = Caller(services)
    kinds: dict[str, StepKindRunner] = {
        "python": PythonKind(services, caller),
        "http": HttpKind(services),
        "agent": AgentKind(services, caller),
        "code": CodeKind(services),
    }
    return kinds if services.stage is None else {name: Staged(name, kind, services.stage) for name, kind in kinds.items()}


class Lane:
    """Flights that were asked for together, and how many workers have been woken but have not begun."""

    def __init__(self, flights: list[Flight]) -> None:
        self.queue = deque(flights)
        self.fresh = 0


class StepRunner(Executor):
    """The executor of one process and one event loop. Never opens the database."""

    def __init__(self, services: StepServices, kinds: Mapping[str, StepKindRunner] | None = None) -> None:
        """`kinds`: what carries each kind of step out; the usual ones when absent."""
        self._services = services
        self._kinds = _usual_kinds(services) if kinds is None else kinds
        self._loaded = LoadedValues(services.artifacts)
        self._runs: dict[str, dict[FlightKey, Flight]] = {}
        self._kept = Kept()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def in_flight(self) -> int:
        """Attempts under way."""
        return sum(map(len, self._runs.values()))

    async def execute(self, calls: Sequence[StepCall]) -> AsyncGenerator[list[StepResult], None]:
        """Carry out `calls`; yield what has finished, at most 256 results or about 1 MiB at a time.

        What is asked for again while it is in flight is joined. Results are kept for five minutes: an owner may die with results
        in its hands that it has not journalled, and the next one, who asks for the same steps again, must not pay for them twice.
        """
        outbox = Outbox()
        lane = Lane([flight for call in calls for flight in self._accept(call, outbox)])
        self._wake(lane, wanted=1, each=1)
        try:
            while outbox.expected:
                yield await outbox.take()
        finally:
            outbox.closed = True

    def holds(self, run_id: str, key: FlightKey) -> bool:
        """Whether this is under way here, or has finished a moment ago: whoever asks for it again is answered without another attempt."""
        return key in self._runs.get(run_id, ()) or self._kept.has(run_id, key)

    async def cancel(self, run_id: str, step: str | None = None) -> None:
        """End what is in flight of this run, or of one step (its id, or the key of one iteration), with the error `canceled`."""
        self._kept.forget(run_id, step)
        for flight in list(self._runs.get(run_id, {}).values()):
            call = flight.batch.call
            if step is None or step in (call.step, call.step_key):
                self._stop(flight, StepFailed("canceled", "the step was canceled", retryable=False))

    async def close(self) -> None:
        """End everything, wait until it has ended, and release connections and threads.

        What is still in flight is lost with this process, as its owners hear; nobody has canceled it.
        """
        for flight in [flight for flights in self._runs.values() for flight in flights.values()]:
            self._stop(flight, StepFailed("executor_lost", "the process that carried the step out was told to leave"))
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for kind in self._kinds.values():
            await kind.close()

    def _accept(self, call: StepCall, outbox: Outbox) -> list[Flight]:
        """The flights of a call that have to begin; what is in flight is joined, what is kept is answered."""
        flights = self._runs.setdefault(call.run_id, {})
        batch = Batch(call, self._loaded)
        begin: list[Flight] = []
        for item in (None,) if call.items is None else call.items:
            key, attempt = ((call.step_key, None), call.attempt) if item is None else ((call.step_key, item.index), item.attempt)
            outbox.expected += 1
            flight = flights.get(key)
            if flight is None:
                if self._kept and (kept := self._kept.take(call.run_id, key, call.epoch, attempt)):
                    outbox.put(*kept)
                    continue
                flight = flights[key] = Flight(batch, item, key)
                begin.append(flight)
            flight.receivers.append((outbox, call.epoch, attempt))
        if not flights:
            del self._runs[call.run_id]
        return begin

    def _wake(self, lane: Lane, *, wanted: int, each: int) -> None:
        """Have `wanted` workers ready to take over, as long as there is something to take; each will keep `each` ready itself."""
        for _ in range(min(wanted, len(lane.queue)) - lane.fresh):
            lane.fresh += 1
            task = asyncio.create_task(self._work(lane, each))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _work(self, lane: Lane, ready: int) -> None:
        lane.fresh -= 1
        task = asyncio.current_task()
        time = asyncio.get_running_loop().time
        until = time() + SLICE_SECONDS
        while lane.queue:
            flight = lane.queue.popleft()
            if flight.done:
                continue  # stopped before it began
            self._wake(lane, wanted=ready, each=NEXT_WORKERS)
            flight.task = task
            if not await self._carry_out(flight):
                return  # the cancellation of this flight may still be on its way to this task: it must not hit the next one
            if time() > until:
                await asyncio.sleep(0)
                until = time() + SLICE_SECONDS

    async def _carry_out(self, flight: Flight) -> bool:
        """Run one attempt to its result. False when it was stopped meanwhile, so that its result is already out."""
        work = self._work_of(flight)
        token = about.set(work)
        try:
            work.clock.start()
            result, size = await self._attempt(flight, work)
        except (Exception, SystemExit, asyncio.CancelledError) as error:  # whatever user code raises is a result
            if flight.done:
                return False
            if isinstance(error, asyncio.CancelledError) and flight.task is not None and flight.task.cancelling():
                raise  # the process is shutting down; a function may also raise it by itself, which is its failure
            self._fail(flight, error)
            return True
        finally:
            about.reset(token)
        if flight.done:
            return False
        self._finish(flight, result, size)
        return True

    async def _attempt(self, flight: Flight, work: Work) -> tuple[StepResult, int]:
        kind = self._kinds.get(work.call.kind)
        if kind is None:
            raise StepFailed("kind_unknown", f"steps of kind '{work.call.kind}' are not carried out here", retryable=False)
        await flight.batch.prepare()
        if ARMED:
            reach("effect.before", work.call.kind)
        outcome = await kind.run(flight.batch.render(flight.item), work)
        if ARMED:
            reach("effect.after", work.call.kind)
        if outcome.asks:
            return flight.result(None, None, outcome.usage, tuple(work.saved), asks=outcome.asks), len(to_json(outcome.asks))
        limit = self._services.settings.max_output_bytes
        try:
            output, size = await plain(outcome.output, self._services.artifacts, limit)
        except StepFailed:
            if (record := self._services.record) is not None:
                for body in outcome.calls:  # paid for all the same
                    await record(work.call, work.index, body)
            raise
        messages, said = (None, 0) if outcome.messages is None else await plain(outcome.messages, self._services.artifacts, limit)
        return flight.result(output, None, outcome.usage, tuple(work.saved), messages=messages, calls=outcome.calls), size * (1 + len(outcome.calls)) + said

    def _work_of(self, flight: Flight) -> Work:
        timeout = flight.batch.call.timeout_ms
        flight.clock = Clock(None if timeout is None else timeout / 1000, partial(self._expire, flight))
        flight.span = self._span(flight)
        return Work(flight.batch.call, flight.item, flight.clock, span=flight.span)

    def _span(self, flight: Flight) -> AttemptSpan | None:
        tracer, call = self._services.tracer, flight.batch.call
        if tracer is None:
            return None
        about_it = {"run_id": call.run_id, "workflow": call.workflow, "step_key": call.step_key, "step": call.step, "kind": call.kind}
        return begin(tracer, call.traceparent, **about_it, index=flight.key[1], attempt=flight.attempt)

    def _expire(self, flight: Flight) -> None:
        self._stop(flight, StepFailed("timeout", f"the attempt took longer than {flight.batch.call.timeout_ms} ms"))

    def _stop(self, flight: Flight, reason: StepFailed) -> None:
        """Give the result at once, then end the work: whoever waits does not depend on how the function takes it."""
        if flight.done:
            return
        self._finish(flight, flight.result(None, failure(reason), {}, ()), 200)
        if flight.task is not None:
            flight.task.cancel()

    def _fail(self, flight: Flight, error: BaseException) -> None:
        # The stack goes to the log, never into the result; once for each type of exception in a batch.
        if not isinstance(error, AgenticError) and type(error) not in flight.batch.logged:
            flight.batch.logged.add(type(error))
            log.warning("step_raised", exc_info=error)
        found = tidy(failure(error))
        self._finish(flight, flight.result(None, found, {}, ()), 200 + len(str(found)))

    def _finish(self, flight: Flight, result: StepResult, size: int) -> None:
        flight.done = True
        if flight.clock is not None:
            flight.clock.stop()
        if flight.span is not None:
            flight.span.ended(None if result.error is None else result.error["code"], result.usage)
        flights = self._runs[result.run_id]
        del flights[flight.key]
        if not flights:
            del self._runs[result.run_id]
        self._keep(result, size)
        for outbox, epoch, attempt in flight.receivers:
            if not outbox.closed:
                same = (epoch, attempt) == (result.epoch, result.attempt)
                outbox.put(result if same else replace(result, epoch=epoch, attempt=attempt), size)

    def _keep(self, result: StepResult, size: int) -> None:
        # Questions are not kept: an owner that knows their answers would get them again.
        if not result.asks and (result.error is None or result.error["code"] != "canceled"):
            self._kept.keep((result.step_key, result.index), result, size)
