"""What a person sees of a run while it goes on: a small fold of its events, drawn as a table or as one line per event."""

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from actors.cli.output import STYLES, clean, ms, seconds

if TYPE_CHECKING:
    from rich.console import RenderableType

MARKS = {
    "succeeded": "✔",
    "failed": "✘",
    "canceled": "■",
    "skipped": "-",
    "running": "▶",
    "waiting": "◔",
    "retrying": "↻",
    "scheduled": "·",
    "pending": "·",
}
SAID = 80
"""Characters of what a model is saying that are shown: the last ones."""
BAR = 24
"""Width of a map's progress bar, in characters."""

_AFTER = {
    "step.scheduled": "scheduled",
    "step.started": "running",
    "step.iterated": "running",
    "step.waiting": "waiting",
    "step.retrying": "retrying",
    "step.succeeded": "succeeded",
    "step.reused": "succeeded",
    "step.failed": "failed",
    "step.skipped": "skipped",
    "step.canceled": "canceled",
}
_RUN_AFTER = {
    "run.created": "queued",
    "run.started": "running",
    "run.waiting": "waiting",
    "run.woken": "running",
    "run.paused": "paused",
    "run.resumed": "running",
    "run.canceling": "canceling",
    "run.succeeded": "succeeded",
    "run.failed": "failed",
    "run.canceled": "canceled",
}
RUN_ENDS = frozenset({"run.succeeded", "run.failed", "run.canceled"})


@dataclass(slots=True)
class StepLine:
    """One step as it is shown. Times are ms since the epoch."""

    status: str = "pending"
    attempt: int = 1
    iteration: int | None = None
    started_at: int | None = None
    ended_at: int | None = None
    total: int | None = None
    done: int = 0
    failed: int = 0
    note: str = ""
    said: str = ""
    """The end of what a model is saying in this step."""
    index: int | None = None
    """The item it is about."""

    def hear(self, event: str, body: dict[str, Any]) -> None:
        """Take a delta; with another item, another text begins."""
        if event == "step.delta_dropped" or body["offset"] == 0 or body["index"] != self.index:
            self.said = ""
        self.index = body["index"]
        self.said = (self.said + (body["text"] or ""))[-SAID:]


@dataclass(slots=True)
class View:
    """The run as far as its events tell. Feed it every event once, in order."""

    run_id: str
    workflow: str = ""
    steps: dict[str, StepLine] = field(default_factory=dict)
    status: str = "queued"
    note: str = ""
    seq: int = 0
    created_at: int | None = None
    ended_at: int | None = None
    output: Any = None
    error: dict[str, Any] | None = None

    @classmethod
    def of(cls, run_id: str, step_ids: Iterable[str]) -> "View":
        """A view that shows these steps from the start, in this order."""
        return cls(run_id, steps={step: StepLine() for step in step_ids})

    @property
    def ended(self) -> bool:
        return self.status in {"succeeded", "failed", "canceled"}

    def apply(self, event: dict[str, Any]) -> None:
        """Take one event, `{seq, event, at, step, attempt, body}`, or one delta, which has no `seq` and no `at`."""
        self.seq = event.get("seq", self.seq)
        kind, body = event["event"], event.get("body") or {}
        if kind.startswith("step.delta"):
            if event["step"]:
                self.steps.setdefault(event["step"].partition("#")[0], StepLine()).hear(kind, body)
        elif kind in _RUN_AFTER:
            self._run(kind, ms(event["at"]), body)
        elif kind == "approval.requested":
            self.note = f"approval {body.get('approval_id', '')} asks: {body.get('message') or event.get('step')}"
        elif kind == "approval.resolved":
            self.note = f"{'approved' if body.get('approved') else 'rejected'} by {body.get('by') or 'unknown'}"
        elif event.get("step"):
            self._step(kind, event, body)

    def _run(self, kind: str, at: int, body: dict[str, Any]) -> None:
        self.status = _RUN_AFTER[kind]
        if kind == "run.created":
            self.workflow, self.created_at = body.get("workflow", self.workflow), at
        elif kind == "run.waiting" and not self.note:
            self.note = f"waits for {body.get('waiting_for', 'something')}"
        elif kind in RUN_ENDS:
            self.ended_at, self.output, self.error, self.note = at, body.get("output"), body.get("error"), ""

    def _step(self, kind: str, event: dict[str, Any], body: dict[str, Any]) -> None:
        name, _, iteration = event["step"].partition("#")
        step = self.steps.setdefault(name, StepLine())
        step.iteration = int(iteration) if iteration else body.get("iteration", step.iteration)
        step.status = _AFTER.get(kind, step.status)
        step.attempt = event.get("attempt") or step.attempt
        if kind == "step.started":
            step.started_at, step.total = step.started_at or ms(event["at"]), body.get("total", step.total)
        elif kind in {"items.finished", "items.reused"}:
            step.done += len(body.get("done") or ())
            step.failed += len(body.get("failed") or ())
        step.note = _note(kind, body, step.note)
        if kind == "step.retrying":
            step.said = ""
        if step.status in {"succeeded", "failed", "skipped", "canceled"}:
            step.ended_at = ms(event["at"])

    def elapsed(self, now: int) -> int:
        """Milliseconds since the run was created, or what it took."""
        return max(0, (self.ended_at or now) - (self.created_at or now))


def _note(kind: str, body: dict[str, Any], before: str) -> str:
    if kind in {"step.failed", "step.retrying"}:
        error = body.get("error") or {}
        return f"{error.get('code', '')}: {error.get('message', '')}"
    if kind == "step.waiting":
        return f"for {body.get('for', '')}"
    if kind == "step.skipped":
        return str(body.get("reason") or "")
    if kind == "step.reused":
        return "reused"
    return "" if kind in {"step.started", "step.succeeded"} else before


def _aside(step: StepLine) -> str:
    """What stands beside a step: its note, or what a model is saying in it."""
    if step.note or not step.said or step.status != "running":
        return step.note
    item = "" if step.index is None else f"item {step.index}: "
    return f"{item}…{' '.join(step.said.split())}"


def describe(event: dict[str, Any]) -> str | None:
    """One line of plain text for an event; None for those that would only be noise in a log."""
    kind, body = event["event"], event.get("body") or {}
    if kind in {"items.started", "run.claimed", "call.finished", "step.scheduled"} or kind.startswith("step.delta"):
        return None
    step = f" {event['step']}" if event.get("step") else ""
    if kind == "items.finished":
        return f"{kind}{step} +{len(body.get('done') or ())} done, +{len(body.get('failed') or ())} failed"
    error = body.get("error") or {}
    facts = (body.get("waiting_for"), body.get("for"), body.get("reason"), body.get("message"), error.get("code"), error.get("message"))
    tail = " ".join(str(fact) for fact in facts if fact)
    return f"{kind}{step}{': ' if tail else ''}{tail}"


def draw(view: View, now: int | None = None) -> "RenderableType":
    """The view as a rich renderable."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    now = now if now is not None else int(time.time() * 1000)
    head = Text.assemble((view.workflow or "run", "bold"), f"  {view.run_id}  ", (view.status, STYLES.get(view.status, "")), f"  {seconds(view.elapsed(now))}")
    grid = Table.grid(padding=(0, 2))
    for name, step in view.steps.items():
        style = STYLES.get(step.status, "")
        took = seconds((step.ended_at or now) - step.started_at) if step.started_at else ""
        grid.add_row(
            Text(MARKS.get(step.status, " "), style=style),
            Text(clean(name)),
            Text(step.status, style=style),
            Text(_progress(step)),
            took,
            Text(clean(_aside(step))[:100], style="dim"),
        )
    return Group(head, grid, *([Text(clean(view.note), style="magenta")] if view.note else []))


def _progress(step: StepLine) -> str:
    if step.total is None:
        parts = [f"iteration {step.iteration}"] if step.iteration is not None else []
        return " ".join(parts + ([f"attempt {step.attempt}"] if step.attempt > 1 else []))
    filled = BAR if step.total == 0 else round(BAR * min(step.done + step.failed, step.total) / step.total)
    failed = f", {step.failed} failed" if step.failed else ""
    return f"{'━' * filled}{'╌' * (BAR - filled)} {step.done}/{step.total}{failed}"
