"""Threads for short reads: what waits while they are busy goes over together, for a hop to a thread costs more than most reads."""

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

T = TypeVar("T")

MAX_TOGETHER = 32


class Lanes:
    """`count` threads. Each takes what has gathered, at most 32 functions, so that a slow one holds up few others."""

    def __init__(self, count: int, name: str) -> None:
        self._free = count
        self._threads = ThreadPoolExecutor(count, thread_name_prefix=name)
        self._waiting: deque[tuple[Callable[[], Any], asyncio.Future[Any]]] = deque()

    async def run(self, function: Callable[[], T]) -> T:
        """What `function` returns or raises; called on one of the threads."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.append((function, future))
        self._start()
        return await future

    def close(self) -> None:
        """Wait for what runs."""
        self._threads.shutdown()

    def _start(self) -> None:
        while self._free and self._waiting:
            share = max(1, min(MAX_TOGETHER, len(self._waiting) // self._free))
            jobs = [self._waiting.popleft() for _ in range(share)]
            self._free -= 1
            self._threads.submit(self._work, jobs, asyncio.get_running_loop())

    def _work(self, jobs: list[tuple[Callable[[], Any], asyncio.Future[Any]]], loop: asyncio.AbstractEventLoop) -> None:
        done = [(future, *_outcome(function)) for function, future in jobs]
        loop.call_soon_threadsafe(partial(self._finish, done))

    def _finish(self, done: list[tuple[asyncio.Future[Any], Any, BaseException | None]]) -> None:
        self._free += 1
        for future, value, error in done:
            if future.done():
                continue  # whoever asked has gone
            if error is None:
                future.set_result(value)
            else:
                future.set_exception(error)
        self._start()


def _outcome(function: Callable[[], Any]) -> tuple[Any, BaseException | None]:
    try:
        return function(), None
    except BaseException as error:  # noqa: BLE001 - handed to whoever asked
        return None, error
