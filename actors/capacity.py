"""How many actors this cluster can carry, and how many it needs: pure arithmetic on memory, processors and load."""

import math
from dataclasses import dataclass

from runtime.settings import Settings

WORKFLOW_BYTES = 110 * 2**20
AGENT_BYTES = 160 * 2**20
"""Measured: proportional memory of a warm actor; an AgentActor that has imported a model provider is the dearer one."""
SHARE = 0.25
"""Of the cluster's memory, for each of the two pools; the rest belongs to Ray, the API and isolated steps."""
FULL = 0.9
"""A pool grows when its members are this full on average, and shrinks when one fewer would not be."""
TOO_BUSY = 0.5
"""Share of a core that an AgentActor may use on average: calls end in crowds, and what they have to compute waits for one core then."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Of a pool's size."""

    least: int
    most: int

    def clamp(self, wanted: int) -> int:
        """`wanted`, within the bounds."""
        return max(self.least, min(self.most, wanted))


def workflow_bounds(settings: Settings, memory: float) -> Bounds:
    """`memory`: bytes Ray may use in the whole cluster."""
    most = settings.workflow_actors_max or max(1, int(memory * SHARE / WORKFLOW_BYTES))
    return Bounds(settings.workflow_actors_min, max(settings.workflow_actors_min, most))


def agent_bounds(settings: Settings, memory: float, cores: float) -> Bounds:
    """An AgentActor is one event loop: more than two per core only share the same processor."""
    most = settings.agent_actors_max or max(1, min(int(memory * SHARE / AGENT_BYTES), math.ceil(cores * 2)))
    return Bounds(settings.agent_actors_min, max(settings.agent_actors_min, most))


def workflows_needed(loads: list[int], per_actor: int, active_runs: int) -> int:
    """WorkflowActors for these loads. When all are full, the runs that have not ended say how many are needed at once."""
    needed = math.ceil(sum(loads) / (per_actor * FULL))
    if loads and min(loads) >= per_actor * FULL:
        needed = max(needed, math.ceil(active_runs / per_actor))
    return max(1, needed)


def agents_needed(loads: list[int], busy: list[float], per_actor: int, cores: float) -> int:
    """AgentActors for these loads: by places, and so many that what they compute fits into them, a core for each at most."""
    by_places = math.ceil(sum(loads) / (per_actor * FULL))
    by_work = min(math.ceil(sum(busy) / TOO_BUSY), math.ceil(cores))
    return max(1, by_places, by_work)
