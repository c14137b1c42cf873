"""The AgentActors one WorkflowActor knows: which are up, how much each has in flight from here, and where a call should go."""

import asyncio
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import structlog
from ray.exceptions import RayError

from actors.names import forget, handle

log = structlog.get_logger(__name__)

TOGETHER = 64
"""So many calls an actor may have whatever the others have, so that a run's calls stay together while there is little to do."""
UNEVEN = 1.1
"""Of its fair share an actor may have so much: an agent step computes for milliseconds, and the slower half of a map decides when it ends."""
REVIVE_SECONDS = 0.2


@dataclass(slots=True, eq=False)
class Agent:
    """One AgentActor as seen from here."""

    name: str
    in_flight: int = 0
    down: bool = False

    @property
    def remote(self) -> Any:
        """Its handle. Raises ValueError when it no longer exists."""
        return handle(self.name)


class Fleet:
    """Placement by consistent hashing with bounded loads.

    The same step goes to the same actor, also from the next owner, which so finds what is still in flight there; an actor
    that has more than its share passes calls on to the next in the step's own order.
    """

    def __init__(self, limit: int) -> None:
        """`limit`: steps in flight per actor; beyond it calls wait here."""
        self._limit = limit
        self._agents: dict[str, Agent] = {}
        self._changed = asyncio.Event()
        self._reviving: set[asyncio.Task[None]] = set()

    def update(self, names: Iterable[str]) -> None:
        """The pool consists of these actors now."""
        self._agents = {name: self._agents.get(name) or Agent(name) for name in names}
        self._changed.set()

    @property
    def agents(self) -> list[Agent]:
        """All members, also those that are down."""
        return list(self._agents.values())

    async def ready(self, timeout: float) -> bool:
        """Wait until an actor is up and has room. False after `timeout` seconds without one that is up."""
        while True:
            up = self._up()
            if any(agent.in_flight < self._limit for agent in up):
                return True
            self._changed.clear()
            try:
                await asyncio.wait_for(self._changed.wait(), None if up else timeout)
            except TimeoutError:
                return False

    def place(self, key: str, weight: int) -> Agent:
        """The actor for `weight` calls that belong together under `key`; counts them. Only after `ready`."""
        up = self._up()
        agent = up[0] if len(up) == 1 else self._choose(up, key, weight)
        agent.in_flight += weight
        return agent

    def rejoin(self, agent: Agent, weight: int) -> None:
        """`weight` calls go to this very actor, because it has them in flight already."""
        agent.in_flight += weight

    def done(self, agent: Agent, weight: int) -> None:
        """These calls have ended."""
        agent.in_flight -= weight
        self._changed.set()

    def lost(self, agent: Agent) -> None:
        """A call failed because the actor is gone: nothing more goes there until it answers again."""
        if not agent.down:
            agent.down = True
            log.warning("agent_actor_lost", actor=agent.name)
            task = asyncio.create_task(self._revive(agent))
            self._reviving.add(task)
            task.add_done_callback(self._reviving.discard)

    def _up(self) -> list[Agent]:
        return [agent for agent in self._agents.values() if not agent.down]

    @staticmethod
    def _choose(up: list[Agent], key: str, weight: int) -> Agent:
        share = (sum(agent.in_flight for agent in up) + weight) / len(up)
        order = sorted(up, key=lambda agent: zlib.crc32(f"{agent.name}/{key}".encode()))
        fitting = (agent for agent in order if agent.in_flight + weight <= max(TOGETHER, UNEVEN * share))
        return next(fitting, None) or min(up, key=lambda agent: agent.in_flight)

    async def _revive(self, agent: Agent) -> None:
        """Ask until it answers: Ray restarts it, or the Supervisor makes a new one of its name."""
        while self._agents.get(agent.name) is agent:
            try:
                await agent.remote.ping.remote()
            except (RayError, ValueError):
                forget(agent.name)
                await asyncio.sleep(REVIVE_SECONDS)
                continue
            agent.down = False
            log.info("agent_actor_back", actor=agent.name)
            self._changed.set()
            return
