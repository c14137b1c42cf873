"""Arming the product's fail points: a ticket is a file, and the first process that reaches the point takes it."""

import itertools
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.chaos.log import read_lines

VARIABLE = "AGENTIC_FAIL_POINTS"
POINTS = (
    *("submit.before_commit", "submit.after_commit", "claim.after_commit", "intent.after_commit", "effect.before", "effect.after"),
    *("result.before_commit", "result.after_commit", "terminal.before_commit", "terminal.after_commit", "outbox.after_send"),
    *("cancel.after_commit", "approval.after_commit", "artifact.after_put", "drain.release", "migrate.each", "turn.before"),
)
OWNER_POINTS = (
    *("claim.after_commit", "intent.after_commit", "result.before_commit", "result.after_commit"),
    *("terminal.before_commit", "terminal.after_commit", "turn.before"),
)
"""Those a WorkflowActor reaches in the course of any load."""
REPLICA_POINTS = ("submit.before_commit", "submit.after_commit")
STEP_POINTS = ("effect.before", "effect.after")
FENCES = ("epoch", "head", "terminal", "cancel", "intent", "acknowledge")
"""Guards that a file `fence.<name>` takes out."""


@dataclass
class FailPoints:
    """The folder of one platform's tickets."""

    folder: Path
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)

    def arm(self, point: str, action: str = "kill", *, seconds: float = 2.0, key: str | None = None, keep: bool = False) -> Path:
        """Put a ticket there; returns its file, which is gone once somebody has taken it."""
        if point not in POINTS:
            raise ValueError(f"there is no fail point {point}")
        ticket = self.folder / f"{point}~{next(self._numbers)}"
        draft = self.folder / f".{ticket.name}"
        draft.write_text(json.dumps({"action": action, "seconds": seconds, "key": key, "keep": keep}))
        draft.rename(ticket)
        return ticket

    def disarm(self) -> int:
        """Take all tickets back; how many nobody had taken."""
        left = [path for path in self.folder.iterdir() if "~" in path.name]
        for path in left:
            path.unlink(missing_ok=True)
        return len(left)

    def taken(self) -> list[dict[str, Any]]:
        """`{point, action, pid, at}` of every ticket that was taken."""
        return read_lines(self.folder / "log.jsonl")

    @contextmanager
    def without(self, fences: str) -> Iterator[None]:
        """Fences are off as long as this lasts; `epoch+head` names two."""
        files = [self.folder / f"fence.{fence}" for fence in fences.split("+")]
        if unknown := {file.suffix[1:] for file in files} - set(FENCES):
            raise ValueError(f"there is no fence {', '.join(unknown)}")
        for file in files:
            file.touch()
        try:
            yield
        finally:
            for file in files:
                file.unlink(missing_ok=True)
