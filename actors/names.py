"""How actors are called and found. A name is an address, never a proof that only one of it lives: epochs in the journal see to that."""

from functools import cache
from typing import Any

import ray
from ray.util import list_named_actors

NAMESPACE = "agentic"
SUPERVISOR = "supervisor"
WORKFLOW, AGENT, DEDICATED = "workflow", "agent", "dedicated"


def pooled(kind: str, number: int) -> str:
    """`workflow-0`, `agent-3`: members of the two pools, numbered from 0."""
    return f"{kind}-{number}"


def dedicated(run_id: str) -> str:
    """The WorkflowActor of one run alone."""
    return f"{DEDICATED}-{run_id}"


@cache
def handle(name: str) -> Any:
    """The actor of this name; restarts keep the handle valid. Raises ValueError when there is none."""
    return ray.get_actor(name, namespace=NAMESPACE)


def forget(name: str) -> None:
    """Look handles up anew: this actor was replaced."""
    del name  # one look-up is a millisecond; the cache is small, so it goes as a whole
    handle.cache_clear()


def living() -> list[str]:
    """Names of all our actors that exist now."""
    return [found["name"] for found in list_named_actors(all_namespaces=True) if found["namespace"] == NAMESPACE]
