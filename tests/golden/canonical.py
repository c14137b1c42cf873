"""A run's state as JSON, field by field, so that two states can be compared whichever release folded them.

Left out is what the fold does not say: caches, and what `decide` finds out again (runtime/engine/state.py names both). A golden
remembers which fields its release knew: fields that came later are not compared, fields that are gone or renamed are a difference.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any

from runtime.engine.events import Event
from runtime.engine.state import Ask, Items, RunState, StepState
from runtime.store.protocol import RunRow

NOT_FOLDED = {
    "RunState": {"plan", "finishing", "loaded", "memo", "lost"},
    "StepState": set(),
    "Items": {"spec", "over", "whole"},
    "Ask": set(),
}
ORDERED = {"frontier", "active"}
"""Dictionaries without values: sets whose order counts."""
COLUMNS = ("workflow", "definition", "status", "mode", "epoch", "head", "created_at", "waiting_for", "started_at", "ended_at")
"""Columns that follow from the journal and hold plain values. `parent_run`, `parent_step`, `forked_from`, `labels`, `result`, `error` do as well."""


def known_fields() -> dict[str, list[str]]:
    """Class → the fields this release folds."""
    return {each.__name__: [field.name for field in fields(each) if field.name not in NOT_FOLDED[each.__name__]] for each in (RunState, StepState, Items, Ask)}


def canonical(value: Any, known: Mapping[str, list[str]]) -> Any:
    """JSON of a state or a part of it. Sets are sorted; maps whose keys are no names, and everything whose order counts, are lists."""
    if isinstance(value, Enum):
        return value.value
    if is_dataclass(value) and not isinstance(value, type):
        return {name: _field(name, getattr(value, name), known) for name in known[type(value).__name__]}
    if isinstance(value, dict):
        return _mapping(value, known)
    if isinstance(value, set | frozenset):
        return sorted(value)
    if isinstance(value, list | tuple | deque):
        return [canonical(item, known) for item in value]
    return value


def _field(name: str, value: Any, known: Mapping[str, list[str]]) -> Any:
    return list(value) if name in ORDERED else canonical(value, known)


def _mapping(value: dict[Any, Any], known: Mapping[str, list[str]]) -> Any:
    if all(isinstance(key, str) for key in value):
        return {key: canonical(item, known) for key, item in value.items()}
    return [[key, canonical(item, known)] for key, item in sorted(value.items(), key=lambda pair: (pair[0] is not None, pair[0] or 0))]


def columns_of(row: RunRow) -> dict[str, Any]:
    """What the store keeps of a run beside its journal, as far as the journal says it (I10)."""
    plain = {name: canonical(getattr(row, name), {}) for name in COLUMNS}
    more = {name: getattr(row, name) for name in ("parent_run", "parent_step", "forked_from", "labels", "result", "error")}
    return {**plain, **more}


def columns_said_by(state: RunState, created: Event) -> dict[str, Any]:
    """The same from the fold."""
    body = created.body or {}
    return {
        "workflow": body["workflow"],
        "definition": body["definition"],
        "status": state.status.value,
        "mode": state.mode,
        "epoch": state.epoch,
        "head": state.head,
        "created_at": state.created_at,
        "waiting_for": state.waiting_for,
        "started_at": state.started_at,
        "ended_at": state.ended_at,
        "parent_run": (state.parent or {}).get("run_id"),
        "parent_step": (state.parent or {}).get("step"),
        "forked_from": (state.forked_from or {}).get("run_id"),
        "labels": state.labels,
        "result": state.output if state.ended else None,
        "error": state.error if state.ended else None,
    }
