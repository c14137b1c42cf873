"""Threads for synchronous functions: bounded, and never waited for when a process ends.

The standard pool joins its threads at exit, so one function that hangs would keep the whole process alive; these are daemons.
"""

import asyncio
import threading
from collections.abc import Callable
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any

from runtime.errors import StepFailed


@dataclass(slots=True, eq=False)
class _Job:
    call: Callable[[], Any]
    future: asyncio.Future[Any]
    context: Context = field(default_factory=copy_context)
    """Of whoever asked: what it logs is about the same step."""
    finished: bool = False
    abandoned: bool = False


class Threads:
    """Runs at most `size` functions at once for one event loop.

    A function whose caller gave up (timeout, cancel) cannot be stopped: its thread is written off and another takes its place,
    at most `spare` times; beyond that new calls fail with `threads_exhausted` until some of them return.
    """

    def __init__(self, size: int = 32, spare: int = 64) -> None:
        self._slots = asyncio.Semaphore(size)
        self._spare = spare
        self._abandoned = 0
        self._idle = 0
        self._closed = False
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()

    async def run(self, call: Callable[[], Any], started: Callable[[], None]) -> Any:
        """The result of `call()`, made in a thread; `started` is called here when it has got one. Exceptions of `call` come through."""
        if self._abandoned >= self._spare:
            raise StepFailed("threads_exhausted", f"{self._abandoned} functions that were given up on are still running", retry_after=5)
        await self._slots.acquire()
        started()
        job = _Job(call, asyncio.get_running_loop().create_future())
        self._submit(job)
        try:
            return await job.future
        finally:
            self._slots.release()
            if job.future.cancelled() and not job.finished:
                job.abandoned = True
                self._abandoned += 1

    def close(self) -> None:
        """End the threads that have nothing to do; the others end with their function."""
        self._closed = True
        for _ in range(self._idle):
            self._jobs.put(None)
        self._idle = 0

    def _submit(self, job: _Job) -> None:
        self._jobs.put(job)
        if self._idle:
            self._idle -= 1
            return
        loop = asyncio.get_running_loop()
        threading.Thread(target=self._work, args=(loop,), name="step", daemon=True).start()

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        while job := self._jobs.get():
            result: Any = None
            error: BaseException | None = None
            try:
                result = job.context.run(job.call)
            except StopIteration as stop:
                error = RuntimeError(f"the function raised StopIteration: {stop}")  # a future cannot carry the original
            except BaseException as raised:  # noqa: BLE001 - it belongs to the caller, whatever it is
                error = raised
            try:
                loop.call_soon_threadsafe(self._finish, job, result, error)
            except RuntimeError:
                return  # the loop is closed: nobody waits for this result any more

    def _finish(self, job: _Job, result: Any, error: BaseException | None) -> None:
        job.finished = True
        if self._closed:
            self._jobs.put(None)
        else:
            self._idle += 1
        if job.abandoned:
            self._abandoned -= 1
        elif not job.future.done():
            job.future.set_exception(error) if error else job.future.set_result(result)
