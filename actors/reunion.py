"""After a change of owner: which AgentActor still has what the owner before had in flight. All are asked, for the pool may have changed."""

import asyncio
from collections.abc import Iterable, Sequence

from ray.exceptions import RayError

from actors.fleet import Agent, Fleet
from runtime.steps.flights import FlightKey
from runtime.steps.protocol import StepCall

ASK_SECONDS = 2.0
"""An AgentActor that does not answer in this time may carry the step out a second time; it is not waited for any longer."""

Place = tuple[str, str, int | None]
"""Run, step key, index."""


def places(call: StepCall) -> list[Place]:
    """Everything this call asks for."""
    return [(call.run_id, call.step_key, index) for index in ([None] if call.items is None else [item.index for item in call.items])]


async def find(fleet: Fleet, calls: Iterable[StepCall]) -> dict[Place, Agent]:
    """Where the recovered ones among these calls are in flight, as far as the living know."""
    wanted = [place for call in calls if call.recovered for place in places(call)]
    if not wanted:
        return {}
    agents = [agent for agent in fleet.agents if not agent.down]
    answers = await asyncio.gather(*(_ask(fleet, agent, wanted) for agent in agents))
    return {place: agent for agent, held in zip(agents, answers, strict=True) for place, holds in zip(wanted, held, strict=True) if holds}


async def _ask(fleet: Fleet, agent: Agent, wanted: Sequence[Place]) -> list[bool]:
    keys: list[tuple[str, FlightKey]] = [(run_id, (step_key, index)) for run_id, step_key, index in wanted]
    try:
        held: list[bool] = await asyncio.wait_for(agent.remote.holding.remote(keys), ASK_SECONDS)
    except TimeoutError:
        return [False] * len(wanted)
    except (RayError, ValueError):
        fleet.lost(agent)
        return [False] * len(wanted)
    return held
