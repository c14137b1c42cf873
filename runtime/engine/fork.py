"""A new run that takes over what another has finished: retry from the failed steps, or fork from any step."""

from collections.abc import Iterable
from typing import Any

from runtime.definition.plan import Plan
from runtime.engine.events import Event, Kind
from runtime.engine.state import Items, RunState, StepState
from runtime.engine.states import StepStatus
from runtime.references import REFERENCE

ITEMS_PER_EVENT = 500
_Draft = tuple[Kind, str, int | None, dict[str, Any]]
"""kind, step, attempt, body"""


def failed_steps(source: RunState) -> frozenset[str]:
    """The main steps a retry runs again: all that did not succeed and were not skipped by a decision that stands."""
    return frozenset(name for name in source.plan.main if source.steps[name].status not in (StepStatus.SUCCEEDED, StepStatus.SKIPPED))


def downstream(plan: Plan, steps: Iterable[str]) -> frozenset[str]:
    """These steps and all that depend on them."""
    found = set(steps)
    queue = list(found)
    while queue:
        for dependent in plan.steps[queue.pop()].dependents:
            if dependent not in found:
                found.add(dependent)
                queue.append(dependent)
    return frozenset(found)


def fork_events(plan: Plan, source: RunState, *, restart: frozenset[str], at: int, keep_items: bool = True) -> list[Event]:
    """The events after `run.created` (seq from 2) of a run that reuses `source` but for `restart` and what depends on it.

    A step that is new in `plan`, or became a map or stopped being one, runs anew with what depends on it. What was skipped by a
    decision that stands is skipped again. With `keep_items` (a retry) a map in `restart` keeps the items that had succeeded,
    unless a step it depends on runs again. `finally` always runs anew.
    """
    again = downstream(plan, {*_changed(plan, source), *(name for name in restart if name in plan.steps)})
    drafts: list[_Draft] = []
    for name in plan.main:
        if name not in again:
            drafts += _reused(source, name)
        elif keep_items and name in restart and again.isdisjoint((*plan.steps[name].needs, *plan.steps[name].routers)):
            drafts += _kept_items(plan, source, name)
    return [Event(seq, 0, kind, at, name, attempt, body) for seq, (kind, name, attempt, body) in enumerate(drafts, start=2)]


def _changed(plan: Plan, source: RunState) -> set[str]:
    """Steps of `plan` that `source` has nothing for."""
    known = {name: source.plan.steps[name].over is None for name in source.plan.main}
    return {name for name in plan.main if known.get(name) is not (plan.steps[name].over is None)}


def _reused(source: RunState, name: str) -> list[_Draft]:
    step = source.steps[name]
    if step.status is StepStatus.SKIPPED:
        return [(Kind.STEP_SKIPPED, name, None, {"reason": step.reason})]
    if step.status is not StepStatus.SUCCEEDED:
        return []
    if step.items is not None:
        return [*_reuse_items(name, step.items, with_failed=True), (Kind.STEP_REUSED, name, None, {"from": source.run_id, **_besides(step)})]
    return [(Kind.STEP_REUSED, name, None, {"output": step.output, "from": source.run_id, **_besides(step)})]


def _besides(step: StepState) -> dict[str, Any]:
    saved = [{"name": name, REFERENCE: {key: one[key] for key in ("sha256", "size", "media_type")}} for name, one in step.artifacts.items()]
    return ({} if step.messages is None else {"messages": step.messages}) | ({"artifacts": saved} if saved else {})


def _kept_items(plan: Plan, source: RunState, name: str) -> list[_Draft]:
    step = source.steps.get(name)
    if step is None or step.items is None or plan.steps[name].over is None:
        return []
    return _reuse_items(name, step.items, with_failed=False)


def _reuse_items(name: str, items: Items, *, with_failed: bool) -> list[_Draft]:
    done = [[index, items.outputs[index]] for index in sorted(items.finished)]
    chunks = [done[start : start + ITEMS_PER_EVENT] for start in range(0, len(done), ITEMS_PER_EVENT)]
    failed = [[index, items.attempts[index], items.failed[index]] for index in sorted(items.failed)] if with_failed else []
    return [
        (Kind.STEP_STARTED, name, 1, {"total": items.total}),
        *((Kind.ITEMS_REUSED, name, None, {"done": chunk}) for chunk in chunks),
        *([(Kind.ITEMS_REUSED, name, None, {"done": [], "failed": failed})] if failed else []),
    ]
