"""`decide`: what follows from a run's state. Runs until nothing more follows, or until a turn's bound is reached.

A step starts when all steps it needs have succeeded (a failure with `on_error: continue` counts as success); it is skipped when
one of them did not, unless it says `join: any`, which waits for all of them to end and wants one success. A step that a `switch`
or an `on_error: {goto}` names also waits to be chosen, and is skipped when every router has ended without choosing it.
"""

from collections.abc import Callable
from enum import Enum
from heapq import heappop
from typing import Any

from runtime.engine.asks import awaited, expire
from runtime.engine.begin import begin, take_signal
from runtime.engine.events import Kind
from runtime.engine.finish import cancel, close_approval, end_iteration, error, fail, guarded, succeed
from runtime.engine.items import feed
from runtime.engine.overtime import watch_the_run
from runtime.engine.react import resolve_approval
from runtime.engine.retry import ALONE_AFTER
from runtime.engine.scope import Scope, Unloaded
from runtime.engine.state import RunState, StepState
from runtime.engine.states import RunStatus, StepStatus, WaitingFor
from runtime.engine.turn import Turn
from runtime.errors import ExpressionFailed


class Readiness(Enum):
    """Whether a pending step may go."""

    WAIT = "wait"
    START = "start"
    SKIP = "skip"


def decide(turn: Turn, patience_ms: int) -> None:
    """Write every event that follows from the state, then say when to look again.

    A run that has nothing in flight and nothing due within `patience_ms` is released.
    """
    state = turn.state
    if state.status is RunStatus.QUEUED:
        turn.emit(Kind.RUN_STARTED)
    if state.status is not RunStatus.PAUSED:
        _ring_alarms(turn)
        while _step_forward(turn):
            _ring_alarms(turn)
            turn.more = turn.more or turn.full
    if not state.ended and not turn.more and not turn.loads:
        _rest(turn, patience_ms)


def _step_forward(turn: Turn) -> bool:
    """Do the next thing that follows; False when there is none, or the turn has to stop here."""
    state = turn.state
    if state.ended or state.status is RunStatus.PAUSED or turn.loads or turn.more:
        return False
    if stopping(state) and not state.finishing:
        _stop_main(turn)
    elif state.frontier:
        _look_at(turn, next(iter(state.frontier)))
        return True
    return _next_phase(turn)


# --- one step --------------------------------------------------------------------------------------------------------


def _look_at(turn: Turn, name: str) -> None:
    """Do what this step is ready for."""
    state = turn.state
    del state.frontier[name]
    guarded(turn, name, lambda: _EXAMINE[state.steps[name].status](turn, name), state.frontier)


def _examine_pending(turn: Turn, name: str) -> None:
    planned, _step = turn.step(name)
    readiness, reason = _readiness(turn.state, name)
    if readiness is Readiness.SKIP:
        turn.emit(Kind.STEP_SKIPPED, name, body={"reason": reason})
    elif readiness is Readiness.START:
        if planned.when is not None and not planned.when.holds(turn.scope(name)):
            turn.emit(Kind.STEP_SKIPPED, name, body={"reason": "its condition is not true"})
            return
        begin(turn, name, iteration=None if planned.step.loop is None else 0, attempt=1)


def _examine_running(turn: Turn, name: str) -> None:
    """A map takes or starts items; a loop stands between two iterations."""
    planned, step = turn.step(name)
    expire(turn, name)
    if step.items is not None:
        feed(turn, name, step.items)
    elif planned.step.loop is not None and step.attempt == 0 and end_iteration(turn, name, planned.step.loop):
        begin(turn, name, iteration=(step.iteration or 0) + 1, attempt=1)


def _examine_retrying(turn: Turn, name: str) -> None:
    """Nothing but its alarm makes a retrying step be looked at, so its delay is over."""
    step = turn.state.steps[name]
    begin(turn, name, iteration=step.iteration, attempt=step.attempt + 1)


def _examine_waiting(turn: Turn, name: str) -> None:
    step = turn.state.steps[name]
    if (step.waiting or {}).get("for") == "signal":
        take_signal(turn, name)
    expire(turn, name)
    if (step.waiting or {}).get("calls") and not step.asks:
        begin(turn, name, iteration=step.iteration, attempt=step.attempt + 1)
    if step.status is StepStatus.WAITING and step.due is not None and step.due <= turn.now:
        _expire(turn, name)


_EXAMINE: dict[StepStatus, Callable[[Turn, str], None]] = {
    StepStatus.PENDING: _examine_pending,
    StepStatus.RUNNING: _examine_running,
    StepStatus.RETRYING: _examine_retrying,
    StepStatus.WAITING: _examine_waiting,
}


def _expire(turn: Turn, name: str) -> None:
    """The time a waiting step was given is over."""
    planned, step = turn.step(name)
    waiting, approval = step.waiting or {}, planned.step.approval
    if waiting.get("next"):
        begin(turn, name, iteration=(step.iteration or 0) + 1, attempt=1)
    elif waiting["for"] == "timer":
        succeed(turn, name, {"due": waiting["due"]})
    elif approval is None:
        fail(turn, name, error("expired", "nothing came in time"))
    elif approval.on_expiry == "fail":
        close_approval(turn, name, by="expiry")
        fail(turn, name, error("expired", "nobody decided in time"))
    else:
        answer = {"approval_id": waiting["approval_id"], "approved": approval.on_expiry == "approve", "by": "expiry"}
        resolve_approval(turn, name, approval, answer)


# --- readiness -------------------------------------------------------------------------------------------------------


def _readiness(state: RunState, name: str) -> tuple[Readiness, str]:
    planned, step = state.plan.steps[name], state.steps[name]
    if planned.routers and not step.chosen:
        return (Readiness.WAIT if step.open_routers else Readiness.SKIP), "no step chose it"
    if planned.step.join == "all" and step.missed is not None:
        return Readiness.SKIP, f"{step.missed} was {state.steps[step.missed].status}"
    if step.open_needs:
        return Readiness.WAIT, ""
    if planned.needs and not step.met:
        return Readiness.SKIP, "none of the steps it needs succeeded"
    return Readiness.START, ""


# --- time ------------------------------------------------------------------------------------------------------------


def _ring_alarms(turn: Turn) -> None:
    """Look at what has become due: retries, timers and expiries through the frontier, deadlines at once."""
    state = turn.state
    while state.alarms and state.alarms[0][0] <= turn.now and not state.ended and state.status is not RunStatus.PAUSED:
        _, name = heappop(state.alarms)
        if not name:
            if state.error is None and not state.canceling:
                watch_the_run(turn)
        elif not state.steps[name].status.ended:
            if _overdue(turn, name):
                fail(turn, name, error("deadline", "the step did not end before its deadline"))
            else:
                state.frontier[name] = None


def _overdue(turn: Turn, name: str) -> bool:
    planned, step = turn.step(name)
    deadline = planned.step.deadline
    return deadline is not None and step.started_at is not None and turn.now >= step.started_at + deadline


# --- the run ---------------------------------------------------------------------------------------------------------


def stopping(state: RunState) -> bool:
    """Whether the run can no longer succeed."""
    return state.canceling or state.error is not None


def _stop_main(turn: Turn) -> None:
    """The run will not succeed any more: end what is going on, start nothing new but `finally`."""
    state = turn.state
    for name in [name for name in state.active if not state.plan.steps[name].final]:
        cancel(turn, name)
    for name in [name for name in state.frontier if not state.plan.steps[name].final]:
        del state.frontier[name]


def _next_phase(turn: Turn) -> bool:
    """From the main steps to `finally`, from there to the end. False when neither follows yet."""
    state = turn.state
    if not state.finishing:
        main_active = any(not state.plan.steps[name].final for name in state.active)
        if main_active or (state.open_main and not stopping(state)):
            return False
        state.finishing = True
        state.frontier.update(dict.fromkeys(name for name in state.plan.final if state.steps[name].status is StepStatus.PENDING))
        return True
    if state.open_final:
        return False
    _end(turn)
    return True


def _end(turn: Turn) -> None:
    state = turn.state
    if state.canceling:
        turn.emit(Kind.RUN_CANCELED)
    elif state.error is not None:
        turn.emit(Kind.RUN_FAILED, body={"error": state.error})
    else:
        try:
            turn.emit(Kind.RUN_SUCCEEDED, body={"output": _outputs(state)})
        except ExpressionFailed as failure:
            turn.emit(Kind.RUN_FAILED, body={"error": error("expression_failed", f"outputs: {failure}")})
        except Unloaded as missing:
            turn.loads += missing.references


def _outputs(state: RunState) -> dict[str, Any]:
    plan, scope = state.plan, Scope(state)
    if plan.outputs:
        return {name: expression.evaluate(scope) for name, expression in plan.outputs.items()}
    return {name: scope[f"steps.{name}.output"] for name in plan.sinks if state.steps[name].status is StepStatus.SUCCEEDED}


def _rest(turn: Turn, patience_ms: int) -> None:
    """Nothing more follows now: stay in memory for what is in flight or soon due, else give the run up until then."""
    state = turn.state
    turn.wake_at = None if state.status is RunStatus.PAUSED else turn.next_alarm()
    if in_flight(state):
        return
    if turn.wake_at is not None and turn.wake_at - turn.now <= patience_ms:
        return
    turn.release = True
    if state.status is RunStatus.RUNNING:
        turn.emit(Kind.RUN_WAITING, body={"waiting_for": waiting_for(state)})


def in_flight(state: RunState) -> bool:
    """Whether a step, or an item of one, is being carried out by an executor."""
    return any(_executing(state, name) for name in state.active)


def needs_own_process(state: RunState, name: str) -> bool:
    """Whether this step, or any item of it, is carried out in a process of its own."""
    planned, step = state.plan.steps[name], state.steps[name]
    if not planned.remote or step.status is not StepStatus.RUNNING:
        return False
    crashes = step.crashes if step.items is None else max(step.items.crashes.values(), default=0)
    return planned.step.resources is not None or crashes >= ALONE_AFTER


def _executing(state: RunState, name: str) -> bool:
    step, planned = state.steps[name], state.plan.steps[name]
    if step.status is not StepStatus.RUNNING or not planned.remote:
        return False
    return step.attempt > 0 if step.items is None else bool(step.items.running)


def waiting_for(state: RunState) -> str:
    """What the run waits for; of several things the one a person can do most about."""
    found = {"retry" if state.steps[name].status is StepStatus.RETRYING else _reason(state.steps[name]) for name in state.active}
    return next((reason.value for reason in WaitingFor if reason.value in found), WaitingFor.TIMER.value)


def _reason(step: StepState) -> str:
    if step.asks:
        return awaited(step)
    if step.items is not None:
        return "child" if step.items.running else "retry"
    return str((step.waiting or {}).get("for", "timer"))
