"""Workers for one event loop: started when the first program comes, a bounded number, each program in a fresh session of one of them."""

import asyncio
import os
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import import_module
from typing import TYPE_CHECKING, Literal

from runtime.errors import StepFailed
from runtime.sandbox.program import GRACE_SECONDS, MAX_PRINTED, WRAPPER, Program, failure_of, limits_of, too_slow
from runtime.sandbox.workers import Launcher

if TYPE_CHECKING:
    from pydantic_monty import AsyncMonty, OSPolicy

MAX_WORKERS = 8
PROGRAMS_PER_WORKER = 1_000
"""A worker that has run so many is replaced."""


@dataclass(slots=True)
class Printed:
    """What a program prints: its `print` goes here, as far as it may."""

    parts: list[str] = field(default_factory=list)
    size: int = 0

    def __call__(self, _stream: Literal["stdout", "stderr"], text: str) -> None:
        self.size += len(text)
        if self.size > MAX_PRINTED:
            raise OverflowError("the program prints too much")
        self.parts.append(text)

    @property
    def text(self) -> str:
        return "".join(self.parts)


class Sandbox:
    """Runs programs in worker processes, at most `size` at once (one for each core, at most 8, when absent)."""

    def __init__(self, size: int | None = None) -> None:
        self.size = size or min(MAX_WORKERS, os.cpu_count() or 1)
        self._places = asyncio.Semaphore(self.size)
        self._opening = asyncio.Lock()
        self._stack = AsyncExitStack()
        self._pool: AsyncMonty | None = None

    async def run(self, program: Program, printed: Printed) -> str:
        """The JSON (ASCII) of what the program returns; what it prints goes into `printed`. Time spent waiting for a worker does not count.

        Whoever is canceled here takes the worker along. Raises StepFailed `code_error`, `timeout`, `memory_exceeded`, `output_not_json`,
        `output_too_large`, `print_too_large`; retryable are `worker_died` and `sandbox_unavailable` alone.
        """
        if len(program.inputs) > program.memory:
            raise StepFailed("memory_exceeded", f"the inputs alone need more than the program's {program.memory >> 20} MiB of memory", retryable=False)
        async with self._places:
            return await self._run(await self._open(), program, printed)

    async def close(self) -> None:
        """End all workers."""
        self._pool = None
        await self._stack.aclose()

    async def _run(self, pool: "AsyncMonty", program: Program, printed: Printed) -> str:
        from pydantic_monty import MontyCrashedError, MontyError

        inputs = {"source": program.source, "inputs": program.inputs, "limit": program.max_output}
        try:
            async with pool.checkout(limits=limits_of(program), os_policy=_policy(program)) as session:
                text = await session.feed_run(WRAPPER, inputs=inputs, print_callback=printed)
        except MontyCrashedError as error:
            if error.timed_out:
                raise too_slow(program) from None
            raise StepFailed("worker_died", "the process that ran the program has died") from error
        except MontyError as error:
            if printed.size > MAX_PRINTED:
                raise StepFailed("print_too_large", f"the program prints more than {MAX_PRINTED} characters", retryable=False) from None
            raise failure_of(error, program) from None
        if not isinstance(text, str):
            raise StepFailed("output_too_large", f"the output has {text} bytes; at most {program.max_output} are allowed", retryable=False)
        return text

    async def _open(self) -> "AsyncMonty":
        async with self._opening:
            if self._pool is None:
                # 20 MB and 40 ms that most processes never need; 400 ms the first time after an installation, with all others waiting.
                monty = await asyncio.to_thread(import_module, "pydantic_monty")
                try:
                    pool = monty.AsyncMonty(
                        binary_path=self._stack.enter_context(Launcher()),
                        min_processes=0,
                        max_processes=self.size,
                        max_checkouts_per_worker=PROGRAMS_PER_WORKER,
                        feed_duration_limit_grace=GRACE_SECONDS,
                        turn_duration_limit_grace=GRACE_SECONDS,
                    )
                    opened: AsyncMonty = await self._stack.enter_async_context(pool)
                except OSError as error:
                    raise StepFailed("sandbox_unavailable", f"no worker for code steps can be started: {error}") from error
                self._pool = opened
            return self._pool


def _policy(program: Program) -> "OSPolicy":
    """No sleep takes time, every clock stands still, and chance is the same each time."""
    return {
        "datetime": datetime.fromtimestamp(program.now_ms / 1000, UTC),
        "timezone": "utc",
        "sleep": "zero",
        "process_time": "zero",
        "random_start": {"seed": program.seed},
    }
