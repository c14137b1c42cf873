"""An event loop in a thread: servers live in it while tests that are not coroutines, or that have loops of their own, come and go."""

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

Result = TypeVar("Result")


class ThreadLoop:
    """Whoever lives in it is reached through it alone: neither servers nor their events are for other threads."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def run(self, work: Coroutine[Any, Any, Result], seconds: float = 30) -> Result:
        """What the coroutine returns or raises. Raises TimeoutError after `seconds`; then it is canceled."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result(seconds)
        finally:
            future.cancel()


@contextmanager
def thread_loop() -> Iterator[ThreadLoop]:
    """A loop that turns until the block ends."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield ThreadLoop(loop)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
