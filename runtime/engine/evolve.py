"""`evolve(state, event) -> state`: what each event means. Together with the tables of `states.py` the whole truth about a run.

The state passed in is consumed: it is changed in place and returned, so that folding n events costs n, also for a map over
ten thousand items. Whoever needs the state before keeps no reference but folds again.
"""

from collections import deque
from collections.abc import Callable, Iterable
from heapq import heappush
from typing import Any

from runtime.definition.model import Goto
from runtime.definition.plan import Plan, PlannedStep
from runtime.engine.clock import alarm_at, start, stop
from runtime.engine.events import Event, Kind, body_of
from runtime.engine.evolve_items import artifacts_saved, item_answered, items_finished, items_reused, items_started
from runtime.engine.retry import CRASH_CODES, UNCOUNTED
from runtime.engine.state import Ask, Items, RunState, StepState, split_key
from runtime.engine.states import PEOPLE, STEP_TRANSITIONS, StepStatus, run_after, step_after
from runtime.errors import InvalidTransition


def initial(plan: Plan, run_id: str) -> RunState:
    """The state before the first event: every step pending."""
    state = RunState(run_id=run_id, plan=plan)
    state.steps = {name: StepState(open_needs=len(step.needs), open_routers=len(step.routers)) for name, step in plan.steps.items()}
    state.open_main, state.open_final = len(plan.main), len(plan.final)
    return state


def fold(plan: Plan, events: Iterable[Event], state: RunState | None = None, *, run_id: str = "") -> RunState:
    """The state after `events`, from nothing or going on from `state`. Raises InvalidTransition."""
    folded = initial(plan, run_id) if state is None else state
    for event in events:
        folded = evolve(folded, event)
    return folded


def evolve(state: RunState, event: Event) -> RunState:
    """Apply one event. Raises InvalidTransition when it does not follow: wrong seq or epoch, after the end, or a pair no table has."""
    kind = event.kind
    if event.seq != state.head + 1 or event.epoch != state.epoch + (kind is Kind.RUN_CLAIMED):
        raise InvalidTransition(f"{kind} {event.seq} of epoch {event.epoch} does not follow {state.head} of epoch {state.epoch}")
    if (kind is Kind.RUN_CREATED) != (event.seq == 1) or state.ended:
        raise InvalidTransition(f"{kind} cannot be event {event.seq} of a run that is {state.status}")
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
    body = body_of(event)
    state.inputs, state.mode, state.seed = body["inputs"], body["mode"], body["seed"]
    state.parent, state.forked_from = body.get("parent"), body.get("forked_from")
    state.labels, state.traceparent = body.get("labels") or {}, body.get("traceparent")
    state.budget, state.user = body.get("budget"), body.get("user") or ""
    state.created_at = event.at
    for name in state.plan.main:
        if not state.plan.steps[name].needs and not state.plan.steps[name].routers:
            state.frontier[name] = None


def _started(state: RunState, event: Event) -> None:
    state.started_at = event.at
    _work_goes_on(state, event)
    if state.plan.definition.deadline is not None:
        heappush(state.alarms, (event.at + state.plan.definition.deadline, ""))


def _paused(state: RunState, event: Event) -> None:
    body = event.body or {}
    state.waiting_for, state.short = body.get("waiting_for"), body.get("budget")
    stop(state, event.at)


def _resumed(state: RunState, event: Event) -> None:
    """A run that was paused before it ever started, starts now. Whoever resumes it may give it another budget."""
    change = (event.body or {}).get("budget")
    if change:
        state.budget = {"on_exceeded": "stop", **(state.budget or {}), **change}
    state.waiting_for = state.short = None
    if state.started_at is None:
        _started(state, event)
    else:
        _work_goes_on(state, event)


def _work_goes_on(state: RunState, event: Event) -> None:
    """The clock of its budget runs from here."""
    start(state, event.at)
    alarm = alarm_at(state, event.at)
    if alarm is not None:
        heappush(state.alarms, (alarm, ""))


def _waiting(state: RunState, event: Event) -> None:
    state.waiting_for = body_of(event)["waiting_for"]
    if state.waiting_for in PEOPLE:
        stop(state, event.at)


def _woken(state: RunState, event: Event) -> None:
    idle = state.waiting_for in PEOPLE
    state.waiting_for = None
    if idle:
        _work_goes_on(state, event)


def _canceling(state: RunState, _event: Event) -> None:
    state.canceling, state.waiting_for, state.short = True, None, None


def _failing(state: RunState, event: Event) -> None:
    state.error = body_of(event)["error"] if state.error is None else state.error


def _ended(state: RunState, event: Event) -> None:
    body = event.body or {}
    state.ended_at, state.output, state.error = event.at, body.get("output"), body.get("error")
    state.waiting_for = state.short = None
    state.canceling = event.kind is Kind.RUN_CANCELED
    state.frontier.clear()


def _signal(state: RunState, event: Event) -> None:
    body = body_of(event)
    state.signals.setdefault(body["name"], deque()).append(body)
    for name in state.active:
        waiting = state.steps[name].waiting
        if waiting is not None and waiting.get("name") == body["name"]:
            state.frontier[name] = None


def _resolved(state: RunState, event: Event) -> None:
    """The question is answered: nothing is open any more, so that ending the step does not answer it a second time."""
    step = _known(state, event)[1]
    if (step.waiting or {}).get("approval_id") == body_of(event)["approval_id"]:
        step.waiting = None


def _call(state: RunState, event: Event) -> None:
    body = body_of(event)
    _known(state, event)[1].calls.setdefault(body.get("index"), []).append(body)


def _call_waiting(state: RunState, event: Event) -> None:
    name, step = _known(state, event)
    body = body_of(event)
    ask = Ask(body["id"], body.get("index"), body["call"], body["for"], body.get("due"))
    step.asks[ask.id] = ask
    if step.items is not None and ask.index is not None:
        step.items.asking[ask.index] = step.items.asking.get(ask.index, 0) + 1
    if ask.due is not None:
        heappush(state.alarms, (ask.due, name))


def _call_answered(state: RunState, event: Event) -> None:
    """The answer stands among the calls, where the next attempt finds it; an item whose last one it was is due at once."""
    name, step = _known(state, event)
    body = body_of(event)
    ask = step.asks.pop(body["id"], None)
    if ask is None:
        raise InvalidTransition(f"nobody asked {body['id']}")
    step.calls.setdefault(ask.index, []).append({"name": "answer", "n": 1, "id": ask.call, "index": ask.index, "result": body["result"]})
    state.frontier[name] = None
    if step.items is not None and ask.index is not None:
        item_answered(step.items, ask.index, event.at)


_RUN_HANDLERS: dict[Kind, Callable[[RunState, Event], None]] = {
    Kind.RUN_CREATED: _created,
    Kind.RUN_CLAIMED: _nothing,
    Kind.RUN_FAILING: _failing,
    Kind.APPROVAL_REQUESTED: _nothing,
    Kind.APPROVAL_RESOLVED: _resolved,
    Kind.SIGNAL_RECEIVED: _signal,
    Kind.CALL_FINISHED: _call,
    Kind.CALL_WAITING: _call_waiting,
    Kind.CALL_ANSWERED: _call_answered,
}
_RUN_MARKS: dict[Kind, Callable[[RunState, Event], None]] = {
    Kind.RUN_STARTED: _started,
    Kind.RUN_WAITING: _waiting,
    Kind.RUN_WOKEN: _woken,
    Kind.RUN_PAUSED: _paused,
    Kind.RUN_RESUMED: _resumed,
    Kind.RUN_CANCELING: _canceling,
    Kind.RUN_SUCCEEDED: _ended,
    Kind.RUN_FAILED: _ended,
    Kind.RUN_CANCELED: _ended,
}


# --- its steps -------------------------------------------------------------------------------------------------------


def _step(state: RunState, event: Event) -> None:
    name, step = _known(state, event)
    before, step.status = step.status, step_after(step.status, event.kind)
    _STEP_HANDLERS[event.kind](state, step, event)
    if step.status is not before:
        _track(state, name, step, event)


def _known(state: RunState, event: Event) -> tuple[str, StepState]:
    """The step an event is about."""
    name, _ = split_key(event.step or "")
    step = state.steps.get(name)
    if step is None:
        raise InvalidTransition(f"the definition has no step {name!r}")
    return name, step


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
    step.asks.clear()
    planned = state.plan.steps[name]
    if planned.final:
        state.open_final -= 1
    else:
        state.open_main -= 1
    if step.status is StepStatus.FAILED and planned.step.on_error == "fail" and state.error is None:
        state.error = {**(step.error or {}), "step": name}
    _inform(state, planned, step)


def _inform(state: RunState, planned: PlannedStep, step: StepState) -> None:
    """Tell the steps that wait for this one how it ended: whether a step is ready must not cost a look at all that it needs."""
    on_error, failed = planned.step.on_error, step.status is StepStatus.FAILED
    goto = on_error.goto if isinstance(on_error, Goto) else None
    routes = {goto, *(target for _, target in planned.cases)}
    chosen = goto if failed else step.output if planned.cases else None
    met = step.status is StepStatus.SUCCEEDED or (failed and on_error == "continue")
    for name in planned.dependents:
        other = state.steps[name]
        if name in routes:
            other.open_routers -= 1
            other.chosen = other.chosen or name == chosen
        else:
            other.open_needs -= 1
            other.met += met
            other.missed = other.missed if met or other.missed is not None else planned.id
        if other.status is StepStatus.PENDING:
            state.frontier[name] = None


def _begun(state: RunState, name: str, step: StepState, event: Event) -> None:
    """The first thing a step does starts the clock of its deadline."""
    if step.started_at is None:
        step.started_at = event.at
        deadline = state.plan.steps[name].step.deadline
        if deadline is not None:
            heappush(state.alarms, (event.at + deadline, name))


def _step_started(state: RunState, step: StepState, event: Event) -> None:
    name, iteration = split_key(event.step or "")
    _begun(state, name, step, event)
    step.attempt, step.iteration = event.attempt or 1, iteration
    step.due, step.waiting = None, None
    step.conversation = (event.body or {}).get("conversation")
    total = (event.body or {}).get("total")
    if total is not None:
        spec, over = state.plan.steps[name].step.map, state.plan.steps[name].over
        if spec is None or over is None:
            raise InvalidTransition(f"step {name!r} is no map")
        step.items = Items(spec, over, total, [None] * total, [0] * total)
        state.frontier[name] = None


def _step_waiting(state: RunState, step: StepState, event: Event) -> None:
    name, iteration = split_key(event.step or "")
    _begun(state, name, step, event)
    step.waiting = body_of(event)
    step.due = step.waiting.get("due")
    step.attempt = step.attempt if event.attempt is None else event.attempt
    step.iteration = step.iteration if iteration is None else iteration
    if step.due is not None:
        heappush(state.alarms, (step.due, name))


def _step_iterated(state: RunState, step: StepState, event: Event) -> None:
    name, body = event.step or "", body_of(event)
    _begun(state, name, step, event)
    step.output, step.iteration = body.get("output"), body["iteration"]
    step.attempt, step.failures, step.crashes = 0, 0, 0
    step.due, step.waiting, step.error = None, None, None
    step.calls.clear()
    _besides(step, body)
    _signal_taken(state, body)
    state.frontier[name] = None


def _step_retrying(state: RunState, step: StepState, event: Event) -> None:
    body = body_of(event)
    step.error, step.due, step.waiting = body.get("error"), body["due"], None
    code = (step.error or {}).get("code")
    step.crashes += code in CRASH_CODES
    step.failures += code not in UNCOUNTED
    heappush(state.alarms, (body["due"], split_key(event.step or "")[0]))


def _step_succeeded(state: RunState, step: StepState, event: Event) -> None:
    body = event.body or {}
    step.output = step.items.outputs if step.items is not None else body.get("output")
    step.error = None
    step.started_at = event.at if step.started_at is None else step.started_at
    _besides(step, body)
    _signal_taken(state, body)


def _besides(step: StepState, body: dict[str, Any]) -> None:
    """What an attempt brought besides its output; that of a loop's last iteration stays the step's."""
    step.messages = body.get("messages", step.messages)
    artifacts_saved(step, body)


def _signal_taken(state: RunState, body: dict[str, Any]) -> None:
    """A signal step that has its message takes it off the queue, so that no other step gets it too."""
    taken = body.get("signal")
    if taken is not None:
        queue = state.signals.get(taken["name"]) or deque()
        if not queue or queue.popleft()["message_id"] != taken["message_id"]:
            raise InvalidTransition(f"message {taken['message_id']} is not the oldest signal {taken['name']!r}")


def _step_failed(_state: RunState, step: StepState, event: Event) -> None:
    step.error = body_of(event)["error"]
    step.output = step.items.outputs if step.items is not None else None
    if step.items is not None:
        step.items.running.clear()


def _step_skipped(_state: RunState, step: StepState, event: Event) -> None:
    step.reason = body_of(event)["reason"]


def _step_canceled(_state: RunState, step: StepState, _event: Event) -> None:
    if step.items is not None:
        step.items.running.clear()


def _step_scheduled(_state: RunState, _step_state: StepState, _event: Event) -> None:
    """Ready and waiting for a place: nothing else to remember."""


def _step_reused(_state: RunState, step: StepState, event: Event) -> None:
    body = body_of(event)
    step.output, step.cached = step.items.outputs if step.items is not None else body["output"], True
    _besides(step, body)


_STEP_HANDLERS: dict[Kind, Callable[[RunState, StepState, Event], None]] = {
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
    Kind.ITEMS_STARTED: items_started,
    Kind.ITEMS_FINISHED: items_finished,
    Kind.ITEMS_REUSED: items_reused,
}
