"""Calls and results between actors as bytes.

Ray would pickle them with its slower Python pickler: 1,000 items in one call cost four times as much that way. Only our own
slotted dataclasses of plain JSON values travel like this, and only between processes of one cluster; nothing at rest is pickled.
"""

import pickle
from collections.abc import Sequence

from runtime.steps.protocol import StepCall, StepResult


def encode(values: Sequence[StepCall] | Sequence[StepResult]) -> bytes:
    """Calls or results, for the other side."""
    return pickle.dumps(list(values), protocol=5)


def calls(data: bytes) -> list[StepCall]:
    """The calls an executor was sent."""
    found: list[StepCall] = pickle.loads(data)  # noqa: S301 - from a process of this cluster, which runs our code anyway
    return found


def results(data: bytes) -> list[StepResult]:
    """The results an AgentActor or a task gave back."""
    found: list[StepResult] = pickle.loads(data)  # noqa: S301 - as above
    return found
