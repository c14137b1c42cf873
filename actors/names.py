"""How actors are called and found. A name is an address, never a proof that only one of it lives: epochs in the journal see to that."""

from collections.abc import Callable
from typing import Any, TypeVar

import ray
from ray.util import list_named_actors

NAMESPACE = "agentic"
SUPERVISOR = "supervisor"
F = TypeVar("F", bound=Callable[..., Any])
WORKFLOW, AGENT, DEDICATED = "workflow", "agent", "dedicated"
_handles: dict[str, Any] = {}
"""Of this process; a look-up asks GCS and takes a millisecond."""


def pooled(kind: str, number: int) -> str:
    """`workflow-0`, `agent-3`: members of the two pools, numbered from 0."""
    return f"{kind}-{number}"


def dedicated(run_id: str) -> str:
    """The WorkflowActor of one run alone."""
    return f"{DEDICATED}-{run_id}"


def handle(name: str) -> Any:
    """The actor of this name; restarts keep the handle valid. Raises ValueError when there is none."""
    if name not in _handles:
        _handles[name] = ray.get_actor(name, namespace=NAMESPACE)
    return _handles[name]


def forget(name: str) -> None:
    """Look this one up anew next time: it was replaced."""
    _handles.pop(name, None)


def living() -> list[str]:
    """Names of all our actors that exist now."""
    return [found["name"] for found in list_named_actors(all_namespaces=True) if found["namespace"] == NAMESPACE]


def unlisted(method: F) -> F:
    """A method whose calls Ray does not list: housekeeping would bury the steps in the dashboard."""
    marked: F = ray.method(enable_task_events=False)(method)
    return marked
