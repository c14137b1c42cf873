"""How a step of each kind begins an attempt."""

import re
from collections.abc import Callable
from datetime import datetime
from typing import Any

from runtime.definition.expressions import Expression
from runtime.definition.model import MAX_MAP_ITEMS, Approval, Signal, StepKind, Workflow
from runtime.definition.types import parse_duration
from runtime.engine.commands import StartChild, StartStep
from runtime.engine.events import Kind
from runtime.engine.finish import child_id, error, fail, succeed
from runtime.engine.retry import ALONE_AFTER
from runtime.engine.state import step_key
from runtime.engine.turn import Turn
from runtime.errors import ExpressionFailed
from runtime.ids import derived_uuid7

CONVERSATION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@-]{0,127}", re.ASCII)


def begin(turn: Turn, name: str, *, iteration: int | None, attempt: int) -> None:
    """Start an attempt. Raises ExpressionFailed, and Unloaded when stored values have to be brought in first."""
    planned, _step = turn.step(name)
    if planned.over is not None:
        _begin_map(turn, name, planned.over)
    elif planned.remote:
        _begin_remote(turn, name, iteration, attempt)
    else:
        _BEGIN[planned.kind](turn, name, getattr(planned.step, planned.kind.value), iteration, attempt)


def attempt_timeout(turn: Turn, name: str) -> int | None:
    """Milliseconds an attempt started now may take: the step's timeout, cut by what is left until its deadline."""
    planned, step = turn.step(name)
    if planned.step.deadline is None:
        return planned.timeout
    left = (step.started_at or turn.now) + planned.step.deadline - turn.now
    return max(1, left if planned.timeout is None else min(left, planned.timeout))


def map_values(turn: Turn, name: str, over: Expression) -> list[Any]:
    """The list a map runs over; computed once per owner. Raises ExpressionFailed, Unloaded."""
    memo = turn.state.memo.get(name)
    if memo is None:
        memo = over.elements(turn.scope(name))
        if len(memo) > MAX_MAP_ITEMS:
            raise ExpressionFailed(f"map.over gives {len(memo)} items; at most {MAX_MAP_ITEMS} are allowed")
        turn.state.memo[name] = memo
    return memo


def _begin_map(turn: Turn, name: str, over: Expression) -> None:
    total = len(map_values(turn, name, over))
    turn.emit(Kind.STEP_STARTED, name, attempt=1, body={"total": total})


def _begin_remote(turn: Turn, name: str, iteration: int | None, attempt: int) -> None:
    planned, step = turn.step(name)
    scope = turn.scope(name, resolve=False).pick(planned.scope_names)
    talk = None if planned.conversation is None else conversation_name(planned.conversation.render(turn.scope(name)))
    turn.emit(Kind.STEP_STARTED, step_key(name, iteration), attempt=attempt, body=None if talk is None else {"conversation": talk})
    calls, alone = tuple(step.calls.get(None, ())), step.crashes >= ALONE_AFTER
    timeout = attempt_timeout(turn, name)
    turn.commands.append(StartStep(name, iteration, attempt, scope, timeout, calls, alone=alone, recovered=turn.recovering, conversation=talk))


def conversation_name(text: str) -> str:
    """The text, when a conversation may be called so. Raises ExpressionFailed."""
    if not CONVERSATION.fullmatch(text):
        raise ExpressionFailed(f"conversation: '{text[:50]}' is no name; use 1 to 128 letters, digits and . _ : @ - , beginning with a letter or digit")
    return text


def _rendered(turn: Turn, name: str) -> dict[str, Any]:
    values = turn.step(name)[0].values
    return {} if values is None else values.render(turn.scope(name))


def _begin_set(turn: Turn, name: str, _spec: object, iteration: int | None, _attempt: int) -> None:
    succeed(turn, name, _rendered(turn, name), iteration=iteration)


def _begin_switch(turn: Turn, name: str, _spec: object, _iteration: int | None, _attempt: int) -> None:
    planned, _step = turn.step(name)
    scope = turn.scope(name)
    for when, target in planned.cases:
        if when is None or when.holds(scope):
            succeed(turn, name, target)
            return
    fail(turn, name, error("no_case", "no case of the switch applies and it has no else"))


def _begin_workflow(turn: Turn, name: str, spec: Workflow, iteration: int | None, attempt: int) -> None:
    inputs = _rendered(turn, name)
    child = child_id(turn, name, iteration, None, attempt)
    turn.emit(Kind.STEP_WAITING, step_key(name, iteration), attempt=attempt, body={"for": "child", "child": child})
    turn.commands.append(StartChild(name, iteration, None, attempt, child, spec.name, spec.version, inputs))


def _begin_approval(turn: Turn, name: str, spec: Approval, iteration: int | None, attempt: int) -> None:
    shown = _rendered(turn, name)
    key = step_key(name, iteration)
    approval_id = derived_uuid7(turn.now, turn.state.run_id, key, attempt, "approval")
    due = None if spec.expires is None else turn.now + spec.expires
    turn.emit(Kind.STEP_WAITING, key, attempt=attempt, body={"for": "approval", "approval_id": approval_id, "due": due})
    body = {"approval_id": approval_id, "message": shown.get("message", ""), "form": spec.form, "show": shown.get("show"), "expires_at": due}
    turn.emit(Kind.APPROVAL_REQUESTED, key, body=body)


def _begin_wait(turn: Turn, name: str, _spec: object, iteration: int | None, attempt: int) -> None:
    due = _due(_rendered(turn, name), turn.now)
    if due <= turn.now:
        succeed(turn, name, {"due": due}, iteration=iteration)
    else:
        turn.emit(Kind.STEP_WAITING, step_key(name, iteration), attempt=attempt, body={"for": "timer", "due": due})


def _due(spec: dict[str, Any], now: int) -> int:
    """When a `wait` ends, in ms. Raises ExpressionFailed when the text is no duration or time."""
    try:
        if spec.get("until") is not None:
            moment = datetime.fromisoformat(str(spec["until"]))
            if moment.tzinfo is None:
                raise ValueError("a time needs its offset, such as 2026-01-31T09:00:00Z")
            return round(moment.timestamp() * 1000)
        return now + parse_duration(spec["for"])
    except (ValueError, OverflowError) as failure:
        raise ExpressionFailed(f"wait: {failure}") from None


def _begin_signal(turn: Turn, name: str, spec: Signal, iteration: int | None, attempt: int) -> None:
    due = None if spec.expires is None else turn.now + spec.expires
    turn.emit(Kind.STEP_WAITING, step_key(name, iteration), attempt=attempt, body={"for": "signal", "name": spec.name, "due": due})
    take_signal(turn, name)


def take_signal(turn: Turn, name: str) -> None:
    """Give a waiting signal step the oldest message of its name, if there is one."""
    step = turn.state.steps[name]
    signal_name = (step.waiting or {}).get("name")
    queue = turn.state.signals.get(signal_name or "", ())
    if queue:
        succeed(turn, name, queue[0]["payload"], signal={"name": signal_name, "message_id": queue[0]["message_id"]})


_BEGIN: dict[StepKind, Callable[..., None]] = {
    StepKind.SET: _begin_set,
    StepKind.SWITCH: _begin_switch,
    StepKind.WORKFLOW: _begin_workflow,
    StepKind.APPROVAL: _begin_approval,
    StepKind.WAIT: _begin_wait,
    StepKind.SIGNAL: _begin_signal,
}
