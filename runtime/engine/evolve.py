"""`evolve(state, event) -> state`: what each event means. Together with the tables of `states.py` the whole truth about a run.

The state passed in is consumed: it is changed in place and returned, so that folding n events costs n, also for a map over
ten thousand items. Whoever needs the state before keeps no reference but folds again.
"""

from collections.abc import Callable, Iterable
from heapq import heappush
from typing import Any

from runtime.definition.plan import Plan
from runtime.engine.events import Event, Kind
from runtime.engine.state import Items, RunState, StepState, split_key
from runtime.engine.states import STEP_TRANSITIONS, StepStatus, run_after, step_after
from runtime.errors import InvalidTransition


def initial(plan: Plan, run_id: str) -> RunState:
    """The state before the first event: every step pending."""
    state = RunState(run_id=run_id, plan=plan)
    state.steps = {name: StepState() for name in plan.steps}
    state.open_main, state.open_final = len(plan.main), len(plan.final)
    return state


def fold(plan: Plan, events: Iterable[Event], state: RunState | None = None, *, run_id: str = "") -> RunState:
    """The state after `events`, from nothing or going on from `state`. Raises InvalidTransition."""
    folded = initial(plan, run_id) if state is None else state
    for event in events:
        folded = evolve(folded, event)
    return folded


def evolve(state: RunState, event: Event) -> RunState:
    """Apply one event. Raises InvalidTransition when it does not follow: wrong seq, older epoch, or a pair no table has."""
    if event.seq != state.head + 1 or event.epoch < state.epoch:
        raise InvalidTransition(f"event {event.seq} of epoch {event.epoch} does not follow {state.head} of epoch {state.epoch}")
    kind = event.kind
    if kind in STEP_TRANSITIONS:
        _step(state, event)
    else:
        handler = _RUN_HANDLERS.get(kind)
        if handler is not None:
            handler(state, event)
        else:
            state.status = run_after(state.status, kind)
            _RUN_MARKS.get(kind, _nothing)(state, event)
    state.head = event.seq
    state.epoch = event.epoch
    return state


# --- the run ---------------------------------------------------------------------------------------------------------


def _nothing(state: RunState, event: Event) -> None:
    """This event changes nothing but the status."""


def _created(state: RunState, event: Event) -> None:
    if state.head:
        raise InvalidTransition("run.created is only ever the first event")
    body = _body(event)
    state.inputs, state.mode, state.seed = body["inputs"], body["mode"], body["seed"]
    state.parent, state.forked_from = body.get("parent"), body.get("forked_from")
    state.labels, state.traceparent = body.get("labels") or {}, body.get("traceparent")
    state.created_at = event.at
    for name in state.plan.main:
        if not state.plan.steps[name].needs and not state.plan.steps[name].routers:
            state.frontier[name] = None


def _claimed(state: RunState, event: Event) -> None:
    if state.ended or event.epoch != state.epoch + 1:
        raise InvalidTransition(f"a claim of epoch {event.epoch} cannot follow epoch {state.epoch} of a run that is {state.status}")


def _started(state: RunState, event: Event) -> None:
    state.started_at = event.at
    if state.plan.definition.deadline is not None:
        heappush(state.alarms, (event.at + state.plan.definition.deadline, ""))


def _waiting(state: RunState, event: Event) -> None:
    state.waiting_for = _body(event)["waiting_for"]


def _awake(state: RunState, _event: Event) -> None:
    state.waiting_for = None


def _canceling(state: RunState, _event: Event) -> None:
    state.canceling, state.waiting_for = True, None


def _failing(state: RunState, event: Event) -> None:
    state.error = _body(event)["error"] if state.error is None else state.error


def _ended(state: RunState, event: Event) -> None:
    body = event.body or {}
    state.ended_at, state.output, state.error = event.at, body.get("output"), body.get("error")
    state.waiting_for = None
    state.canceling = event.kind is Kind.RUN_CANCELED
    state.frontier.clear()


def _signal(state: RunState, event: Event) -> None:
    body = _body(event)
    state.signals.setdefault(body["name"], []).append(body)
    for name in state.active:
        waiting = state.steps[name].waiting
        if waiting is not None and waiting.get("name") == body["name"]:
            state.frontier[name] = None


def _call(state: RunState, event: Event) -> None:
    body = _body(event)
    state.steps[split_key(event.step or "")[0]].calls.setdefault(body.get("index"), []).append(body)


_RUN_HANDLERS: dict[Kind, Callable[[RunState, Event], None]] = {
    Kind.RUN_CREATED: _created,
    Kind.RUN_CLAIMED: _claimed,
    Kind.RUN_FAILING: _failing,
    Kind.APPROVAL_REQUESTED: _nothing,
    Kind.APPROVAL_RESOLVED: _nothing,
    Kind.SIGNAL_RECEIVED: _signal,
    Kind.CALL_FINISHED: _call,
}
_RUN_MARKS: dict[Kind, Callable[[RunState, Event], None]] = {
    Kind.RUN_STARTED: _started,
    Kind.RUN_WAITING: _waiting,
    Kind.RUN_WOKEN: _awake,
    Kind.RUN_PAUSED: _awake,
    Kind.RUN_CANCELING: _canceling,
    Kind.RUN_SUCCEEDED: _ended,
    Kind.RUN_FAILED: _ended,
    Kind.RUN_CANCELED: _ended,
}


# --- its steps -------------------------------------------------------------------------------------------------------


def _step(state: RunState, event: Event) -> None:
    name, iteration = split_key(event.step or "")
    step = state.steps.get(name)
    if step is None:
        raise InvalidTransition(f"the definition has no step {name!r}")
    before, step.status = step.status, step_after(step.status, event.kind)
    _STEP_HANDLERS[event.kind](state, step, event, iteration)
    if step.status is not before:
        _track(state, name, step, event)


def _track(state: RunState, name: str, step: StepState, event: Event) -> None:
    """Keep the sets and counters that make `decide` cheap."""
    if not step.status.ended:
        state.active[name] = None
        return
    state.active.pop(name, None)
    state.frontier.pop(name, None)
    state.memo.pop(name, None)
    step.ended_at, step.due, step.waiting = event.at, None, None
    step.calls.clear()
    planned = state.plan.steps[name]
    if planned.final:
        state.open_final -= 1
    else:
        state.open_main -= 1
    _settle(state, name, step)
    for dependent in planned.dependents:
        if state.steps[dependent].status is StepStatus.PENDING:
            state.frontier[dependent] = None


def _settle(state: RunState, name: str, step: StepState) -> None:
    """A failure that nothing handles is the run's failure; the first one counts."""
    if step.status is StepStatus.FAILED and state.plan.steps[name].step.on_error == "fail" and state.error is None:
        state.error = {**(step.error or {}), "step": name}


def _begun(state: RunState, step: StepState, event: Event) -> None:
    """The first thing a step does starts the clock of its deadline."""
    if step.started_at is None:
        step.started_at = event.at
        name = split_key(event.step or "")[0]
        deadline = state.plan.steps[name].step.deadline
        if deadline is not None:
            heappush(state.alarms, (event.at + deadline, name))


def _step_started(state: RunState, step: StepState, event: Event, iteration: int | None) -> None:
    _begun(state, step, event)
    step.attempt, step.iteration = event.attempt or 1, iteration
    step.due, step.waiting = None, None
    total = (event.body or {}).get("total")
    if total is not None:
        step.items = Items(total, [None] * total, [0] * total)
        state.frontier[event.step or ""] = None


def _step_waiting(state: RunState, step: StepState, event: Event, iteration: int | None) -> None:
    _begun(state, step, event)
    name = split_key(event.step or "")[0]
    step.waiting = _body(event)
    step.due = step.waiting.get("due")
    step.attempt = step.attempt if event.attempt is None else event.attempt
    step.iteration = step.iteration if iteration is None else iteration
    state.frontier.pop(name, None)
    if step.due is not None:
        heappush(state.alarms, (step.due, name))


def _step_iterated(state: RunState, step: StepState, event: Event, _iteration: int | None) -> None:
    _begun(state, step, event)
    body = _body(event)
    step.output, step.iteration, step.attempt = body.get("output"), body["iteration"], 0
    step.due, step.waiting, step.error = None, None, None
    step.calls.clear()
    _signal_taken(state, body)
    state.frontier[event.step or ""] = None


def _step_retrying(state: RunState, step: StepState, event: Event, _iteration: int | None) -> None:
    body = _body(event)
    step.error, step.due, step.waiting = body.get("error"), body["due"], None
    heappush(state.alarms, (body["due"], split_key(event.step or "")[0]))


def _step_succeeded(state: RunState, step: StepState, event: Event, _iteration: int | None) -> None:
    body = event.body or {}
    step.output = step.items.outputs if step.items is not None else body.get("output")
    step.error = None
    step.started_at = event.at if step.started_at is None else step.started_at
    _signal_taken(state, body)


def _signal_taken(state: RunState, body: dict[str, Any]) -> None:
    """A signal step that has its message takes it off the queue, so that no other step gets it too."""
    taken = body.get("signal")
    if taken is not None:
        queue = state.signals[taken["name"]]
        queue[:] = [signal for signal in queue if signal["message_id"] != taken["message_id"]]


def _step_failed(_state: RunState, step: StepState, event: Event, _iteration: int | None) -> None:
    step.error = _body(event)["error"]
    step.output = step.items.outputs if step.items is not None else None
    if step.items is not None:
        step.items.running.clear()


def _step_skipped(_state: RunState, step: StepState, event: Event, _iteration: int | None) -> None:
    step.reason = _body(event)["reason"]


def _step_canceled(_state: RunState, step: StepState, _event: Event, _iteration: int | None) -> None:
    if step.items is not None:
        step.items.running.clear()


def _step_scheduled(_state: RunState, _step_state: StepState, _event: Event, _iteration: int | None) -> None:
    """Ready and waiting for a place: nothing else to remember."""


def _step_reused(_state: RunState, step: StepState, event: Event, _iteration: int | None) -> None:
    step.output, step.cached = _body(event).get("output"), True


def _items(step: StepState) -> Items:
    if step.items is None:
        raise InvalidTransition("an event of items came for a step that is no map")
    return step.items


def _items_started(_state: RunState, step: StepState, event: Event, _iteration: int | None) -> None:
    items, body = _items(step), _body(event)
    for first, last in body["items"]:
        for index in range(first, last + 1):
            items.attempts[index] = body["attempt"]
            items.retrying.pop(index, None)
            items.running.add(index)
        items.next = max(items.next, last + 1)


def _items_finished(state: RunState, step: StepState, event: Event, _iteration: int | None) -> None:
    items, body = _items(step), _body(event)
    state.frontier[event.step or ""] = None
    for index, output in body.get("done", ()):
        _item_done(items, index, output)
    for index, _attempt, error in body.get("failed", ()):
        items.running.discard(index)
        items.failed[index] = error
    for index, _attempt, _error, due in body.get("retrying", ()):
        items.running.discard(index)
        items.retrying[index] = due
        heappush(items.due, (due, index))
        heappush(state.alarms, (due, event.step or ""))
    if step.calls:
        for index, *_rest in (*body.get("done", ()), *body.get("failed", ())):
            step.calls.pop(index, None)


def _items_reused(state: RunState, step: StepState, event: Event, _iteration: int | None) -> None:
    items = _items(step)
    state.frontier[event.step or ""] = None
    body = _body(event)
    for index, output in body["done"]:
        _item_done(items, index, output)
    for index, _attempt, error in body.get("failed", ()):
        items.failed[index] = error


def _item_done(items: Items, index: int, output: Any) -> None:
    if index in items.finished:
        raise InvalidTransition(f"item {index} has already succeeded")
    items.running.discard(index)
    items.finished.add(index)
    items.outputs[index] = output
    items.done += 1


_STEP_HANDLERS: dict[Kind, Callable[[RunState, StepState, Event, int | None], None]] = {
    Kind.STEP_SCHEDULED: _step_scheduled,
    Kind.STEP_STARTED: _step_started,
    Kind.STEP_WAITING: _step_waiting,
    Kind.STEP_ITERATED: _step_iterated,
    Kind.STEP_RETRYING: _step_retrying,
    Kind.STEP_SUCCEEDED: _step_succeeded,
    Kind.STEP_FAILED: _step_failed,
    Kind.STEP_SKIPPED: _step_skipped,
    Kind.STEP_CANCELED: _step_canceled,
    Kind.STEP_REUSED: _step_reused,
    Kind.ITEMS_STARTED: _items_started,
    Kind.ITEMS_FINISHED: _items_finished,
    Kind.ITEMS_REUSED: _items_reused,
}


def _body(event: Event) -> dict[str, Any]:
    if event.body is None:
        raise InvalidTransition(f"{event.kind} came without a body")
    return event.body
