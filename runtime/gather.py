"""Sending things together: at once when they are rare, a moment later when they come in crowds.

A call to another process costs nearly the same for one thing as for thirty; two milliseconds of patience buy throughput where there
is a queue anyway, and cost nothing where there is none.
"""

import asyncio
from collections.abc import Callable
from contextvars import Context

CROWD = 4
"""So many things in one flush show that several callers are at work."""
MOMENT = 0.002
"""Seconds."""


class Gather:
    """Calls `flush` soon after `soon()`; `flush` returns how many things it sent."""

    def __init__(self, flush: Callable[[], int]) -> None:
        self._flush = flush
        self._crowded = False
        self._scheduled = False

    def soon(self) -> None:
        """There is something to send."""
        if self._scheduled:
            return
        self._scheduled = True
        loop = asyncio.get_running_loop()
        # What is sent is many callers': what the first of them works on must not stand in everybody's log lines.
        if self._crowded:
            loop.call_later(MOMENT, self._run, context=Context())
        else:
            loop.call_soon(self._run, context=Context())

    def _run(self) -> None:
        self._scheduled = False
        self._crowded = self._flush() >= CROWD
