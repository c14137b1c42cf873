"""The trials that show that the harness would notice: each takes guards of the journal out, and has to find what they prevent.

Epoch, head and the check for an end each hold alone, so taking out one of them must find nothing; taking out all that hold the same must.
"""

from dataclasses import dataclass, field
from typing import Any

from tests.chaos.faults import Load

_RACING = Load("short", rate=15, in_flight=60, runs_per_injection=12, cancels=0.7, cancel_within=0.4)


@dataclass(frozen=True)
class FenceTrial:
    """`fences` are out while `fault` is injected `count` times; `noticed`: whether there must be findings."""

    fences: str
    fault: str
    count: int
    noticed: bool
    why: str
    changes: dict[str, Any] = field(default_factory=dict)


TRIALS = (
    FenceTrial("epoch+head", "F4", 10, noticed=True, why="two owners may write one run"),
    FenceTrial("intent", "F1", 12, noticed=True, why="an effect comes before its intent is on disk"),
    FenceTrial("cancel", "F1", 25, noticed=True, why="an accepted cancel may lose against the end", changes={"load": _RACING}),
    FenceTrial("acknowledge", "F6", 14, noticed=True, why="a run is acknowledged before it is on disk"),
    FenceTrial("epoch", "F4", 6, noticed=False, why="the head holds alone"),
    FenceTrial("head", "F4", 6, noticed=False, why="the epoch holds alone"),
    FenceTrial("terminal", "F4", 6, noticed=False, why="epoch and head hold alone"),
)
