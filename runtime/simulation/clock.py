"""Virtual time: it stands still while anything is under way, and then jumps to the next moment somebody waits for."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heappop, heappush

from runtime.clock import SystemClock


@dataclass(order=True, slots=True)
class _Alarm:
    moment: int
    number: int
    ring: Callable[[], None] = field(compare=False)
    canceled: bool = field(default=False, compare=False)

    def cancel(self) -> None:
        self.canceled = True


class VirtualClock(SystemClock):
    """Its `now` is what it was told; alarms ring in the order of their moments, those of one moment in the order they were set.

    `monotonic` stays the machine's: it decides who is alive and how long to wait for processes, which are real.
    """

    def __init__(self, start: int) -> None:
        """`start`: ms since the Unix epoch."""
        self._now = start
        self._alarms: list[_Alarm] = []
        self._set = 0

    def now(self) -> int:
        return self._now

    def at(self, moment: int, ring: Callable[[], None]) -> _Alarm:
        self._set += 1
        alarm = _Alarm(moment, self._set, ring)
        heappush(self._alarms, alarm)
        return alarm

    @property
    def next(self) -> int | None:
        """The next moment somebody waits for; None when nobody waits for time."""
        while self._alarms and self._alarms[0].canceled:
            heappop(self._alarms)
        return self._alarms[0].moment if self._alarms else None

    def jump(self) -> bool:
        """Go to that moment and ring its alarms. False when there is none."""
        moment = self.next
        if moment is None:
            return False
        self._now = max(self._now, moment)
        loop = asyncio.get_running_loop()
        while self._alarms and self._alarms[0].moment <= self._now:
            alarm = heappop(self._alarms)
            if not alarm.canceled:
                loop.call_soon(alarm.ring)
        return True
