"""Tool calls of agents that wait: for a person, or for a run of another workflow. The step lets go of its process meanwhile, and of its place."""

from collections.abc import Mapping, Sequence
from typing import Any

from runtime.engine.commands import CancelChild, StartChild
from runtime.engine.events import Kind
from runtime.engine.state import Ask, StepState, step_key
from runtime.engine.turn import Turn
from runtime.ids import derived_uuid7


def ask(turn: Turn, name: str, index: int | None, attempt: int, asks: Sequence[Mapping[str, Any]]) -> None:
    """Put the questions of one agent: `{for: approval, call, tool, message, show: {…}, form?, expires? (ms)}`, or
    `{for: child, call, tool, workflow, version?, inputs}`. The attempt has ended with them. A person is also shown which item asks.
    """
    step = turn.state.steps[name]
    key = step_key(name, step.iteration)
    for each in asks:
        approval = each["for"] == "approval"
        ident = derived_uuid7(turn.now if approval else turn.state.created_at, turn.state.run_id, key, index, each["call"], attempt)
        due = turn.now + each["expires"] if each.get("expires") else None
        body = {"call": each["call"], "tool": each["tool"], "for": each["for"], "id": ident, **_some(index=index, due=due)}
        turn.emit(Kind.CALL_WAITING, key, attempt=attempt, body=body)
        if approval:
            shown = {**each["show"], **_some(index=index)}
            asked = {"message": each["message"], "form": each.get("form"), "show": shown, "expires_at": due}
            turn.emit(Kind.APPROVAL_REQUESTED, key, body={"approval_id": ident, **asked})
        else:
            turn.commands.append(StartChild(name, step.iteration, index, attempt, ident, each["workflow"], each.get("version"), each["inputs"]))


def wait(turn: Turn, name: str, attempt: int, asks: Sequence[Mapping[str, Any]]) -> None:
    """The whole step waits for the answers to these."""
    ask(turn, name, None, attempt, asks)
    key = step_key(name, turn.state.steps[name].iteration)
    turn.emit(Kind.STEP_WAITING, key, attempt=attempt, body={"for": awaited(turn.state.steps[name]), "calls": len(asks)})


def awaited(step: StepState) -> str:
    """What the open questions wait for; of both, the one a person can do something about."""
    return "approval" if any(each.kind == "approval" for each in step.asks.values()) else "child"


def decided(turn: Turn, name: str, question: Ask, answer: Mapping[str, Any]) -> None:
    """A person, or the end of the time there was, has decided about a call. The form, which may be stored, may hold other arguments: `{args}`."""
    approved = bool(answer["approved"])
    given = {key: answer[key] for key in ("form", "by", "comment") if answer.get(key) is not None}
    decision = {"approval_id": question.id, "approved": approved, "decision": "approved" if approved else "rejected", **given, "at": turn.now}
    turn.emit(Kind.APPROVAL_RESOLVED, _key(turn, name), body=decision)
    form = answer.get("form") if approved else None
    answered(turn, name, question, {"approved": approved, **_some(form=form, comment=answer.get("comment"), by=answer.get("by"))})


def answered(turn: Turn, name: str, question: Ask, result: Mapping[str, Any]) -> None:
    """Write an answer down; with the last one of an agent it goes on."""
    body = {"call": question.call, "id": question.id, "result": dict(result), **_some(index=question.index)}
    turn.emit(Kind.CALL_ANSWERED, _key(turn, name), body=body)


def expire(turn: Turn, name: str) -> None:
    """Questions whose time is over count as rejected."""
    step = turn.state.steps[name]
    for question in [each for each in step.asks.values() if each.due is not None and each.due <= turn.now]:
        decided(turn, name, question, {"approved": False, "by": "expiry"})


def give_up(turn: Turn, name: str) -> None:
    """The step ends: take its questions back."""
    for question in list(turn.state.steps[name].asks.values()):
        if question.kind == "child":
            turn.commands.append(CancelChild(question.id))
        else:
            body = {"approval_id": question.id, "approved": False, "decision": "rejected", "by": "canceled", "at": turn.now}
            turn.emit(Kind.APPROVAL_RESOLVED, _key(turn, name), body=body)


def _key(turn: Turn, name: str) -> str:
    return step_key(name, turn.state.steps[name].iteration)


def _some(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
