"""The `python` step: calls a function the operator has installed and allowed."""

import asyncio
import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from runtime.steps.context import StepContext, StepServices, Work
from runtime.steps.functions import CONTEXT, Function, resolve
from runtime.steps.outcome import Outcome
from runtime.steps.threads import Threads


class Caller:
    """Calls `async def` functions in the event loop and plain ones in a bounded number of threads, for steps and for tools."""

    def __init__(self, services: StepServices) -> None:
        self._services = services
        self._threads = Threads()

    async def call(self, function: Function, args: Mapping[str, Any], work: Work, started: Callable[[], None] = lambda: None) -> Any:
        """What the function returns for these keyword arguments; `started` is called when a plain one has got its thread.

        Raises StepFailed `arguments_invalid`, `threads_exhausted`, and whatever the function raises.
        """
        function.check(args)
        if function.is_async:
            context = {CONTEXT: StepContext(work, self._services)} if function.wants_context else {}
            return await function.call(**args, **context)
        context = {CONTEXT: StepContext(work, self._services, asyncio.get_running_loop())} if function.wants_context else {}
        result = await self._threads.run(partial(function.call, **args, **context), started)
        return await result if inspect.isawaitable(result) else result

    async def close(self) -> None:
        """Let the idle threads go."""
        self._threads.close()


class PythonKind:
    """Carries `python` steps out."""

    def __init__(self, services: StepServices, caller: Caller) -> None:
        self._allowed = tuple(services.settings.python_modules)
        self._caller = caller

    async def run(self, spec: dict[str, Any], work: Work) -> Outcome:
        """What the function returns. Raises what it raises, and StepFailed when it may not or cannot be called like this."""
        function = resolve(spec["function"], self._allowed)
        args = {name: own_copy(value) for name, value in spec["args"].items()}
        if not function.is_async:
            work.clock.stop()  # queueing for a thread is not the function's time
        return Outcome(await self._caller.call(function, args, work, work.clock.start))

    async def close(self) -> None:
        await self._caller.close()


def own_copy(value: Any) -> Any:
    """A copy of JSON that the function may change: items of a batch share one rendering, and runs share loaded values."""
    if isinstance(value, dict):
        return {name: own_copy(part) for name, part in value.items()}
    if isinstance(value, list):
        return [own_copy(part) for part in value]
    return value
