"""Isolated steps: one Ray task each, placed by what the step needs, killed when it must end."""

import asyncio
import os
from collections.abc import AsyncGenerator, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import cache
from typing import Any

import ray
from ray.exceptions import OutOfMemoryError, RayError, TaskCancelledError

from actors import wire
from actors.envelopes import credentials
from actors.process import settings
from actors.purse import SupervisorPurse
from actors.recorder import Recorder
from actors.resources import ray_options
from runtime.definition.model import Resources
from runtime.logs import set_up_logs
from runtime.steps.isolated import run_isolated
from runtime.steps.protocol import StepCall, StepResult
from runtime.tracing.open import open_tracer
from runtime.tracing.spans import Tracer

GRACE_SECONDS = 2.0
"""How long after its timeout a step may take to end by itself before its process is killed."""


FLUSH_SECONDS = 1.0


def isolated_step(owner: str, data: bytes) -> Iterator[bytes]:
    """Runs in the task's process. Yields once when it begins, so that waiting for a place can be told from running."""
    set_up_logs(settings())
    recorder = Recorder()
    recorder.belongs(wire.calls(data), owner)
    yield b""
    tracer = _tracer()
    for call in wire.calls(data):
        yield wire.encode(run_isolated(call, settings(), recorder.record, credentials(settings()), SupervisorPurse(), tracer))
    if tracer is not None:
        tracer.flush(FLUSH_SECONDS)  # the process may be kept for another step, or be gone in a moment


@cache
def _tracer() -> Tracer | None:
    """Of this process, which Ray uses again for other steps."""
    return open_tracer(settings(), f"task-{os.getpid()}")


RemoteStep = ray.remote(isolated_step)


def failed(call: StepCall, code: str, message: str, *, retryable: bool = True) -> StepResult:
    """The result of a call of one step or one item that ended without one."""
    item = call.items[0] if call.items else None
    error = {"code": code, "message": message, "retryable": retryable}
    attempt, index = (item.attempt, item.index) if item else (call.attempt, None)
    return StepResult(call.run_id, call.epoch, call.step, attempt, iteration=call.iteration, index=index, error=error)


class IsolatedSteps:
    """The isolated steps one owner has asked for. `me`: the actor's name, where finished model calls are handed to."""

    def __init__(self, me: str) -> None:
        self._me = me
        self._running: dict[asyncio.Task[list[StepResult]], StepCall] = {}

    async def execute(self, call: StepCall) -> AsyncGenerator[list[StepResult], None]:
        """Each item in a task of its own; results as they come."""
        singles = [call] if call.items is None else [replace(call, items=(item,)) for item in call.items]
        started = [self._start(single) for single in singles]
        for done in asyncio.as_completed(started):
            yield await done

    async def cancel(self, run_id: str, step: str | None) -> None:
        """Kill what runs of this run or step; its result is then the error `canceled`."""
        for task, call in list(self._running.items()):
            if call.run_id == run_id and step in (None, call.step, call.step_key):
                task.cancel()

    def _start(self, call: StepCall) -> asyncio.Task[list[StepResult]]:
        task = asyncio.create_task(self._run(call))
        self._running[task] = call
        task.add_done_callback(lambda done: self._running.pop(done, None))
        return task

    async def _run(self, call: StepCall) -> list[StepResult]:
        resources = Resources.model_validate(call.spec["resources"])
        stream = RemoteStep.options(num_returns="streaming", name=call.title, **ray_options(resources)).remote(self._me, wire.encode([call]))
        try:
            return await self._follow(stream, call, resources.start_within / 1000)
        except asyncio.CancelledError:
            kill(stream)
            return [failed(call, "canceled", "the step was canceled", retryable=False)]
        except TaskCancelledError:
            return [failed(call, "canceled", "the task was canceled", retryable=False)]
        except OutOfMemoryError:
            return [failed(call, "out_of_memory", "the node ran out of memory and the step's process was killed")]
        except RayError as failure:
            return [failed(call, "executor_lost", f"the step's process is gone ({type(failure).__name__})")]

    async def _follow(self, stream: Any, call: StepCall, start_within: float) -> list[StepResult]:
        """Wait for the start, then for the result; kill the process when either takes too long."""
        try:
            await asyncio.wait_for(_next(stream), start_within)
        except TimeoutError:
            kill(stream)
            return [failed(call, "no_resources", f"no node had room for this step within {start_within:g} s")]
        limit = None if call.timeout_ms is None else call.timeout_ms / 1000 + GRACE_SECONDS
        try:
            return wire.results(await asyncio.wait_for(_next(stream), limit))
        except TimeoutError:
            kill(stream)
            return [failed(call, "timeout", f"the attempt took longer than {call.timeout_ms} ms")]


async def _next(stream: Any) -> bytes:
    data: bytes = await (await anext(stream))
    return data


def kill(stream: Any) -> None:
    """End the task's process: a blocked function does not notice anything softer. A task that has ended is left alone."""
    with suppress(RayError, ValueError):
        ray.cancel(stream, force=True)
