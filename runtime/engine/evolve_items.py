"""What the events of a map's items mean. A part of `evolve`."""

from heapq import heappush
from typing import Any

from runtime.engine.events import Event, body_of
from runtime.engine.retry import CRASH_CODES, UNCOUNTED
from runtime.engine.state import Items, RunState, StepState
from runtime.errors import InvalidTransition
from runtime.references import REFERENCE, is_reference


def _items(step: StepState) -> Items:
    if step.items is None:
        raise InvalidTransition("an event of items came for a step that is no map")
    return step.items


def items_started(_state: RunState, step: StepState, event: Event) -> None:
    items, body = _items(step), body_of(event)
    for first, last in body["items"]:
        for index in range(first, last + 1):
            items.attempts[index] = body["attempt"]
            items.retrying.pop(index, None)
            items.running.add(index)
        items.next = max(items.next, last + 1)
    _pass_reused(items)


def _pass_reused(items: Items) -> None:
    """Move on over items taken over from another run, so that looking for the next one to start never walks over them again."""
    while items.next < items.total and (items.next in items.finished or items.next in items.failed):
        items.next += 1


def items_finished(state: RunState, step: StepState, event: Event) -> None:
    items, body = _items(step), body_of(event)
    state.frontier[event.step or ""] = None
    artifacts_saved(step, body)
    for index, output in body.get("done", ()):
        _item_done(items, index, output)
    for index, _attempt, error in body.get("failed", ()):
        items.running.discard(index)
        items.failed[index] = error
    for index, _attempt, error, due in body.get("retrying", ()):
        items.running.discard(index)
        if error.get("code") in CRASH_CODES:
            items.crashes[index] = items.crashes.get(index, 0) + 1
        elif error.get("code") not in UNCOUNTED:
            items.failures[index] = items.failures.get(index, 0) + 1
        items.retrying[index] = due
        heappush(items.due, (due, index))
        heappush(state.alarms, (due, event.step or ""))
    for index, _attempt in body.get("asking", ()):
        items.running.discard(index)
    if items.failures or items.crashes:
        for index, *_rest in (*body.get("done", ()), *body.get("failed", ())):
            items.failures.pop(index, None)
            items.crashes.pop(index, None)
    if step.calls:
        for index, *_rest in (*body.get("done", ()), *body.get("failed", ())):
            step.calls.pop(index, None)


def item_answered(items: Items, index: int, at: int) -> None:
    """One question of an item less; after the last it is due again."""
    items.asking[index] -= 1
    if not items.asking[index]:
        del items.asking[index]
        items.retrying[index] = at
        heappush(items.due, (at, index))


def artifacts_saved(step: StepState, body: dict[str, Any]) -> None:
    """Remember the artifacts an event names, as expressions see them; the latest of one name counts."""
    for one in body.get("artifacts", ()):
        step.artifacts[one["name"]] = {"name": one["name"], **one[REFERENCE]}


def items_reused(state: RunState, step: StepState, event: Event) -> None:
    items = _items(step)
    state.frontier[event.step or ""] = None
    body = body_of(event)
    for index, output in body["done"]:
        _item_done(items, index, output)
    for index, _attempt, error in body.get("failed", ()):
        items.failed[index] = error
    _pass_reused(items)


def _item_done(items: Items, index: int, output: Any) -> None:
    if index in items.finished:
        raise InvalidTransition(f"item {index} has already succeeded")
    items.running.discard(index)
    items.finished.add(index)
    items.outputs[index] = output
    items.done += 1
    if is_reference(output):
        items.stored.append(index)
