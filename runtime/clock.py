"""Time as a value: the engine never asks for it, everyone else asks one of these."""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol


class Alarm(Protocol):
    """Something that will be called at its time."""

    def cancel(self) -> None:
        """Do not call it."""
        ...


class Clock(Protocol):
    """Where the current time comes from; tests pass their own."""

    def now(self) -> int:
        """Milliseconds since the Unix epoch, UTC. The only unit of time in the journal."""
        ...

    def monotonic(self) -> float:
        """Seconds on a clock that never jumps. The only clock that decides who is alive."""
        ...

    def at(self, moment: int, ring: Callable[[], None]) -> Alarm:
        """Have `ring` called in the running event loop once `now` has come to `moment` (ms), soon if it has already."""
        ...


class SystemClock:
    """The machine's own clocks."""

    def now(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        return time.monotonic()

    def at(self, moment: int, ring: Callable[[], None]) -> Alarm:
        return asyncio.get_running_loop().call_later(max(0, moment - self.now()) / 1000, ring)


def rfc3339(ms: int) -> str:
    """`ms` since the epoch as RFC 3339 in UTC with milliseconds, as every API field shows it."""
    moment = datetime.fromtimestamp(ms / 1000, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{ms % 1000:03d}Z"
