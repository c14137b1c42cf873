"""Who waits for a run to move: API requests that stream or wait. A hint for them, never the truth; they read the journal."""

import asyncio
from collections import defaultdict


class Watchers:
    """Waiting tasks by run."""

    def __init__(self) -> None:
        self._waiting: defaultdict[str, set[tuple[int, asyncio.Future[None]]]] = defaultdict(set)

    async def wait(self, run_id: str, after: int, timeout: float) -> None:
        """Return when the run's head has passed `after`, when it was let go, or after `timeout` seconds."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        entry = (after, future)
        self._waiting[run_id].add(entry)
        timer = loop.call_later(timeout, _resolve, future)
        try:
            await future
        finally:
            timer.cancel()
            waiting = self._waiting.get(run_id)
            if waiting is not None:
                waiting.discard(entry)
                if not waiting:
                    del self._waiting[run_id]

    def moved(self, run_id: str, head: int) -> None:
        """The run's journal now reaches `head`."""
        for after, future in self._waiting.get(run_id, ()):
            if head > after:
                _resolve(future)

    def gone(self, run_id: str) -> None:
        """This host no longer owns the run."""
        for _, future in self._waiting.get(run_id, ()):
            _resolve(future)


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
