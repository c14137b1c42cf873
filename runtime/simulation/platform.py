"""The platform on a stage: a throwaway database, virtual time, and no way to the network."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

from runtime.errors import AgenticError
from runtime.gateway import Gateway
from runtime.local import LocalPlatform
from runtime.settings import Settings
from runtime.simulation.clock import VirtualClock
from runtime.simulation.home import throwaway
from runtime.simulation.people import TENANT, wishes
from runtime.steps.stage import Stage

FIRST_LOOK, LONGEST_LOOK = 0.0005, 0.02
"""Seconds between two looks whether everything stands still, from the first to the longest: real functions take real time."""
CERTAIN = 2
"""So many looks in a row that find everything at rest."""
DOUBT_SECONDS = 2.5
"""So long a run must stand still before it is given up: more than twice what the host takes to look for runs nobody has named."""

Act = Callable[[], Awaitable[bool]]
"""Does what somebody outside does while time stands still. Whether it did anything."""


class Stuck(AgenticError):
    """Nothing is under way, nothing is due, and nobody will give the run what it waits for."""

    code = "stuck"


class SimulatedPlatform:
    """`async with SimulatedPlatform(settings, stage, start=…) as platform: platform.gateway …; await platform.until_end(run_id)`

    `settings` are those of the user; the platform takes from them what concerns definitions and functions, and no key or address.
    """

    gateway: Gateway
    local: LocalPlatform

    def __init__(self, settings: Settings, stage: Stage, *, start: int) -> None:
        """`start`: what the clock says at first, ms since the Unix epoch."""
        self._settings, self._stage = settings, stage
        self.clock = VirtualClock(start)
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            settings = await stack.enter_async_context(throwaway(self._settings))
            self.local = await stack.enter_async_context(LocalPlatform(settings, clock=self.clock, stage=self._stage))
            self.gateway = self.local.gateway
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._stack.__aexit__(kind, error, trace)

    async def until_end(self, run_id: str, act: Act | None = None) -> None:
        """Let time pass until the run has ended. Raises Stuck.

        Each time nothing is under way `act` may do something; when it does nothing, the clock jumps.
        """
        doubted = False
        while True:
            await self._rest()
            if (await self.gateway.run(TENANT, run_id)).status.ended:
                return
            acted = act is not None and await act()
            # While that was asked, somebody may have given the run something: then it comes first, and time waits.
            if acted or not self.local.host.still or self.clock.jump():
                doubted = False
            elif doubted:
                raise Stuck(await self._why(run_id), run_id=run_id)
            else:
                await asyncio.sleep(DOUBT_SECONDS)
                doubted = True

    async def _rest(self) -> None:
        """Wait until nothing is under way."""
        pause, quiet = FIRST_LOOK, 0
        while quiet < CERTAIN:
            await asyncio.sleep(pause if quiet == 0 else 0)
            quiet = quiet + 1 if self.local.host.still else 0
            pause = min(pause * 1.3, LONGEST_LOOK)

    async def _why(self, run_id: str) -> str:
        found = [wish.what async for wish in wishes(self.gateway)]
        row = await self.gateway.run(TENANT, run_id)
        return f"the run waits for the {', and for the '.join(found)}, which nobody gives" if found else f"the run is {row.status} and nothing moves it"
