"""What came from outside, results of attempts and messages of the inbox, turned into events."""

from collections.abc import Callable, Iterable
from typing import Any, Protocol

from runtime.definition.model import Approval
from runtime.engine.asks import answered, decided, wait
from runtime.engine.events import Kind
from runtime.engine.finish import attempt_failed, child_id, error, fail, succeed
from runtime.engine.items import MAX_ARTIFACTS, Outcome, named, take
from runtime.engine.state import StepState, split_key, step_key
from runtime.engine.states import RUN_TRANSITIONS, StepStatus
from runtime.engine.turn import Turn


class Letter(Protocol):
    """One message of the run's inbox."""

    @property
    def message_id(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def body(self) -> dict[str, Any]: ...


def results(turn: Turn, outcomes: Iterable[Outcome]) -> None:
    """Take results of attempts. One that is not of the current attempt is dropped: its step has gone on without it."""
    of_items: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        step = turn.state.steps.get(outcome.step)
        if step is None or step.status is not StepStatus.RUNNING:
            continue
        if step.items is not None:
            of_items.setdefault(outcome.step, []).append(outcome)
        elif (step.attempt, step.iteration) == (outcome.attempt, outcome.iteration):
            if outcome.asks:
                wait(turn, outcome.step, outcome.attempt, outcome.asks)
            elif outcome.error is None:
                succeed(turn, outcome.step, outcome.output, **_besides(step, outcome))
            else:
                attempt_failed(turn, outcome.step, outcome.error)
    for name, group in of_items.items():
        take_items(turn, name, group)


def _besides(step: StepState, outcome: Outcome) -> dict[str, Any]:
    """What an attempt brought besides its output."""
    saved = named(outcome.artifacts, room=MAX_ARTIFACTS - len(step.artifacts))
    found: dict[str, Any] = {"artifacts": saved} if saved else {}
    if outcome.messages is not None:
        found["messages"] = outcome.messages
        if step.conversation is not None:
            found["conversation"] = step.conversation
    return found


def take_items(turn: Turn, name: str, outcomes: Iterable[Outcome]) -> None:
    """Results of a map's items, unless the step is none or has ended."""
    step = turn.state.steps[name]
    if step.items is not None and step.status is StepStatus.RUNNING:
        take(turn, name, step.items, outcomes)


def messages(turn: Turn, letters: Iterable[Letter]) -> None:
    """Apply messages in order; each is marked as applied also when it no longer means anything."""
    for letter in letters:
        if not turn.state.ended:
            _REACTIONS[letter.kind](turn, letter)
        turn.applied.append(letter.message_id)


def _cancel(turn: Turn, letter: Letter) -> None:
    if turn.state.status in RUN_TRANSITIONS[Kind.RUN_CANCELING]:
        turn.emit(Kind.RUN_CANCELING, body=letter.body or None)


def _pause(turn: Turn, _letter: Letter) -> None:
    if turn.state.status in RUN_TRANSITIONS[Kind.RUN_PAUSED]:
        turn.emit(Kind.RUN_PAUSED)


def _resume(turn: Turn, letter: Letter) -> None:
    if turn.state.status in RUN_TRANSITIONS[Kind.RUN_RESUMED]:
        turn.emit(Kind.RUN_RESUMED, body=letter.body or None)


def _signal(turn: Turn, letter: Letter) -> None:
    body = {"name": letter.body["name"], "payload": letter.body.get("payload"), "message_id": letter.message_id}
    turn.emit(Kind.SIGNAL_RECEIVED, body=body)


def _approval(turn: Turn, letter: Letter) -> None:
    for name in list(turn.state.active):
        planned, step = turn.step(name)
        if planned.step.approval is not None and (step.waiting or {}).get("approval_id") == letter.body["approval_id"]:
            resolve_approval(turn, name, planned.step.approval, letter.body)
        elif (question := step.asks.get(letter.body["approval_id"])) is not None:
            decided(turn, name, question, letter.body)


def resolve_approval(turn: Turn, name: str, spec: Approval, answer: dict[str, Any]) -> None:
    """Record the answer and give it to the step."""
    step = turn.state.steps[name]
    approved = bool(answer["approved"])
    given = {key: answer[key] for key in ("form", "by", "comment") if answer.get(key) is not None}
    output = {"approved": approved, "decision": "approved" if approved else "rejected", **given, "at": turn.now}
    body = {"approval_id": answer["approval_id"], **output}
    turn.emit(Kind.APPROVAL_RESOLVED, step_key(name, step.iteration), body=body)
    if approved or spec.on_reject == "continue":
        succeed(turn, name, {"form": None, "by": None, "comment": None, **output})
    else:
        who = f" by {answer['by']}" if answer.get("by") else ""
        fail(turn, name, error("rejected", f"the approval was rejected{who}", **given))


def _child(turn: Turn, letter: Letter) -> None:
    body = letter.body
    name, index = body["step"], body.get("index")
    step = turn.state.steps.get(name)
    if step is None:
        return
    failure = None if body["status"] == "succeeded" else _child_error(body)
    if (question := step.asks.get(body["run_id"])) is not None:
        answered(turn, name, question, {"output": body.get("output")} if failure is None else {"error": failure})
    elif step.items is not None and index is not None:
        attempt = step.items.attempts[index]
        if child_id(turn, name, None, index, attempt) == body["run_id"]:
            take_items(turn, name, [_ChildOutcome(name, index, attempt, body.get("output"), failure)])
    elif (step.waiting or {}).get("child") == body["run_id"]:
        if failure is None:
            succeed(turn, name, body.get("output"))
        else:
            attempt_failed(turn, name, failure)


def _child_error(body: dict[str, Any]) -> dict[str, Any]:
    cause = body.get("error") or {}
    message = cause.get("message") or f"the child run ended {body['status']}"
    retryable = body["status"] == "failed" and cause.get("retryable", True)
    return error(f"child_{body['status']}", message, retryable=retryable, run_id=body["run_id"], error=cause)


class _ChildOutcome:
    """A child run's end, in the shape of an item's result."""

    def __init__(self, step: str, index: int, attempt: int, output: Any, failure: dict[str, Any] | None) -> None:
        self.step, self.index, self.attempt, self.output, self.error = step, index, attempt, output, failure
        self.iteration: int | None = None
        self.messages: Any = None
        self.artifacts: tuple[dict[str, Any], ...] = ()
        self.asks: tuple[dict[str, Any], ...] = ()


def _decision(turn: Turn, letter: Letter) -> None:
    name, _ = split_key(letter.body["step"])
    step = turn.state.steps.get(name)
    if step is None or (step.waiting or {}).get("for") != "decision":
        return
    action = letter.body["action"]
    if action == "retry":
        body = {"error": (step.waiting or {}).get("error"), "due": turn.now}
        turn.emit(Kind.STEP_RETRYING, step_key(name, step.iteration), attempt=step.attempt, body=body)
    elif action == "succeed":
        succeed(turn, name, letter.body.get("output"))
    else:
        fail(turn, name, error("crashed", "a person decided that the attempt whose effect is unknown has failed"))


_REACTIONS: dict[str, Callable[[Turn, Letter], None]] = {
    "cancel": _cancel,
    "pause": _pause,
    "resume": _resume,
    "signal": _signal,
    "approval": _approval,
    "child": _child,
    "decision": _decision,
}
