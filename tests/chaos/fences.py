"""The trials that show that the harness would notice: each takes guards of the journal out, and has to find what they prevent.

Epoch, head and the check for an end each hold alone, so with two of them out nothing must be found; with all three out something must.
"""

from dataclasses import dataclass, field
from typing import Any

from tests.chaos.faults import Load, Scene
from tests.chaos.process_faults import kill_at_point

_RACING = Load("short", rate=15, in_flight=60, runs_per_injection=12, cancels=0.7, cancel_within=0.4)


async def wake_in_turns(scene: Scene) -> None:
    """Owners stop in the middle of a turn until others have their runs, and write the turn before any heartbeat tells them so.

    Two and a half leases: long enough for a take-over, and short of the three after which a process that stands still ends itself.
    """
    lease = scene.platform.settings.lease_ms / 1000
    while scene.done < scene.count:
        await scene.busy()
        if await kill_at_point(scene, "turn.before", action="pause", seconds=lease * 2.5):
            await scene.pause(lease * 2.5, lease * 3)


@dataclass(frozen=True)
class FenceTrial:
    """`fences` are out while `fault` is injected `count` times; `noticed`: whether there must be findings."""

    fences: str
    fault: str
    count: int
    noticed: bool
    why: str
    changes: dict[str, Any] = field(default_factory=dict)


_WAKING: dict[str, Any] = {"nemesis": wake_in_turns}

TRIALS = (
    FenceTrial("epoch+head+terminal", "F4", 10, noticed=True, why="two owners may write one run", changes=_WAKING),
    FenceTrial("intent", "F1", 12, noticed=True, why="an effect comes before its intent is on disk"),
    FenceTrial("cancel", "F1", 25, noticed=True, why="an accepted cancel may lose against the end", changes={"load": _RACING}),
    FenceTrial("acknowledge", "F6", 14, noticed=True, why="a run is acknowledged before it is on disk"),
    FenceTrial("head+terminal", "F4", 10, noticed=False, why="the epoch holds alone", changes=_WAKING),
    FenceTrial("epoch+terminal", "F4", 10, noticed=False, why="the head holds alone", changes=_WAKING),
    FenceTrial("epoch+head", "F4", 10, noticed=False, why="the check for an end holds alone", changes=_WAKING),
)
