"""Commands become step calls, and calls that come together go out together: one step alone costs one hop, a thousand cost one too."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import structlog

from runtime.definition.model import StepKind
from runtime.engine.commands import StartItems, StartStep
from runtime.gather import Gather
from runtime.host.ledger import payer_of
from runtime.host.slot import Slot
from runtime.steps.protocol import Executor, Item, StepCall, StepResult

log = structlog.get_logger(__name__)

ALONE = {"num_cpus": 0.1}
"""What a step asks for that must not share a process any more: little, for it may wait long, and something, so that such processes have a bound."""


def step_call(slot: Slot, command: StartStep | StartItems, *, history: tuple[dict[str, Any], ...] = (), workflows: tuple[dict[str, Any], ...] = ()) -> StepCall:
    """The call that carries this command out; `history` is what was said before in its conversation, `workflows` those that are tools."""
    state, planned = slot.state, slot.state.plan.steps[command.step]
    items = tuple(Item(*item) for item in command.items) if isinstance(command, StartItems) else None
    return StepCall(
        run_id=state.run_id,
        epoch=state.epoch,
        workflow=slot.row.workflow,
        definition=state.plan.hash,
        step=command.step,
        kind=planned.kind.value,
        # Whatever asks for resources runs in a process of its own: so does what has brought processes down.
        spec={"resources": ALONE, **planned.spec} if command.alone else planned.spec,
        scope=command.scope,
        attempt=1 if isinstance(command, StartItems) else command.attempt,
        iteration=None if isinstance(command, StartItems) else command.iteration,
        items=items,
        timeout_ms=command.timeout_ms,
        mode=state.mode,
        model=state.plan.definition.defaults.model,
        traceparent=state.traceparent,
        tenant=slot.row.tenant,
        calls=command.calls,
        keep_messages=planned.talks,
        history=history,
        workflows=workflows,
        recovered=command.recovered,
        payer=payer_of(slot) if planned.kind is StepKind.AGENT else None,
    )


class Dispatcher:
    """Collects calls until the loop is free, hands them to the executor, and passes results back."""

    def __init__(self, executor: Executor, receive: Callable[[Sequence[StepResult]], None]) -> None:
        self._executor = executor
        self._receive = receive
        self._waiting: list[StepCall] = []
        self._gather = Gather(self._flush)
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def detached(self) -> bool:
        """Whether what is in flight outlives this process."""
        return self._executor.detached

    @property
    def busy(self) -> bool:
        """Whether anything is being carried out, or about to be."""
        return bool(self._waiting or self._tasks)

    def send(self, call: StepCall) -> None:
        """Have the call carried out; its results arrive at `receive`."""
        self._waiting.append(call)
        self._gather.soon()

    def after(self, reading: Coroutine[Any, Any, None]) -> None:
        """Carry out what ends in `send`, once something has been read."""
        self._keep(reading)

    def stop(self, run_id: str, step: str | None = None) -> None:
        """Stop what is in flight of a run or of one of its steps."""
        self._keep(self._executor.cancel(run_id, step))

    async def close(self) -> None:
        """Wait for nothing more: cancel what still streams."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _flush(self) -> int:
        calls, self._waiting = self._waiting, []
        self._keep(self._carry(calls))
        return len(calls)

    async def _carry(self, calls: Sequence[StepCall]) -> None:
        try:
            async for results in self._executor.execute(calls):
                self._receive(results)
        except Exception as failure:
            log.exception("executor_failed", calls=len(calls))
            self._receive(lost(calls, f"{type(failure).__name__} while carrying the step out"))

    def _keep(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def lost(calls: Sequence[StepCall], message: str) -> list[StepResult]:
    """A result for everything in these calls, saying that its executor is gone. Those that had finished already are dropped by the engine."""
    error = {"code": "executor_lost", "message": message, "retryable": True}
    found: list[StepResult] = []
    for call in calls:
        if call.items is None:
            found.append(StepResult(call.run_id, call.epoch, call.step, call.attempt, iteration=call.iteration, error=error))
        else:
            found += [StepResult(call.run_id, call.epoch, call.step, item.attempt, index=item.index, error=error) for item in call.items]
    return found
