"""A new run that takes over what another has finished: retry from the failed steps, or fork from any step."""

from collections.abc import Iterable
from typing import Any

from runtime.definition.plan import Plan
from runtime.engine.events import Event, Kind
from runtime.engine.state import Items, RunState
from runtime.engine.states import StepStatus

ITEMS_PER_EVENT = 500


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

    With `keep_items` (a retry) a map in `restart` keeps the items that had succeeded. `finally` always runs anew.
    """
    again = downstream(plan, (name for name in restart if name in plan.steps))
    drafts: list[tuple[Kind, str, int | None, dict[str, Any]]] = []
    for name in plan.main:
        step = source.steps.get(name)
        if step is None:
            continue
        if step.items is not None and name not in again and step.status is StepStatus.SUCCEEDED:
            drafts += _reuse_items(name, step.items, with_failed=True)
        elif step.items is not None and name in restart and keep_items:
            drafts += _reuse_items(name, step.items, with_failed=False)
        elif name not in again and step.status is StepStatus.SUCCEEDED:
            drafts.append((Kind.STEP_REUSED, name, None, {"output": step.output, "from": source.run_id}))
    return [Event(seq, 0, kind, at, name, attempt, body) for seq, (kind, name, attempt, body) in enumerate(drafts, start=2)]


def _reuse_items(name: str, items: Items, *, with_failed: bool) -> list[tuple[Kind, str, int | None, dict[str, Any]]]:
    done = [[index, items.outputs[index]] for index in sorted(items.finished)]
    chunks = [done[start : start + ITEMS_PER_EVENT] for start in range(0, len(done), ITEMS_PER_EVENT)]
    failed = [[index, items.attempts[index], items.failed[index]] for index in sorted(items.failed)] if with_failed else []
    return [
        (Kind.STEP_STARTED, name, 1, {"total": items.total}),
        *((Kind.ITEMS_REUSED, name, None, {"done": chunk}) for chunk in chunks),
        *([(Kind.ITEMS_REUSED, name, None, {"done": [], "failed": failed})] if failed else []),
    ]
