"""What a journal says of steps and attempts, read from its public form alone: our own fold, independent of the product's."""

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

ENDED = {"step.succeeded": "succeeded", "step.failed": "failed", "step.skipped": "skipped", "step.canceled": "canceled", "step.reused": "succeeded"}
_KEY = re.compile(r"^(?P<step>[^#]+)(?:#(?P<iteration>\d+))?$")


@dataclass
class Told:
    """One step, as its journal tells it."""

    status: str | None = None
    output: Any = None
    error: dict[str, Any] | None = None
    items: dict[int, Any] = field(default_factory=dict)
    failed_items: dict[int, dict[str, Any]] = field(default_factory=dict)
    total: int | None = None
    decided: bool = False
    """A person was asked what became of an attempt."""


@dataclass
class Journal:
    """All steps of a run; `attempts` counts intents per step, item (`step[3]`) and iteration (`step#2`)."""

    steps: dict[str, Told] = field(default_factory=dict)
    attempts: Counter[str] = field(default_factory=Counter)


def read_journal(events: list[dict[str, Any]]) -> Journal:
    """Fold the events."""
    journal = Journal()
    for event in events:
        key = event["step"]
        match = _KEY.match(key) if key else None
        if match:
            _tell(journal, event, match["step"], key)
    return journal


def _tell(journal: Journal, event: dict[str, Any], step: str, key: str) -> None:
    told = journal.steps.setdefault(step, Told())
    kind, body = event["event"], event["body"] or {}
    if kind == "step.started":
        if "total" in body:
            told.total = body["total"]
        else:
            journal.attempts[key] += 1
    elif kind == "items.started":
        for first, last in body["items"]:
            journal.attempts.update(f"{step}[{index}]" for index in range(first, last + 1))
    elif kind == "items.finished":
        told.items.update((index, output) for index, output in body.get("done", ()))
        told.failed_items.update((index, error) for index, _, error in body.get("failed", ()))
    elif kind == "step.waiting":
        told.decided |= body.get("for") == "decision"
    elif kind in ENDED:
        told.status, told.output, told.error = ENDED[kind], body.get("output"), body.get("error")
