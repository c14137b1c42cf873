"""How an attempt's outcome becomes the step's: success, next iteration, retry, failure."""

from collections.abc import Callable
from typing import Any

from runtime.definition.model import Loop
from runtime.engine.asks import give_up
from runtime.engine.budget import ask_for_leave, waits_for_leave
from runtime.engine.commands import CancelChild, StopStep
from runtime.engine.events import Kind
from runtime.engine.retry import CRASH_CODES, MAX_CRASHES, crashed_out, retry_at
from runtime.engine.scope import Unloaded
from runtime.engine.state import step_key
from runtime.engine.states import StepStatus
from runtime.engine.turn import Turn
from runtime.errors import ExpressionFailed
from runtime.ids import derived_uuid7


def error(code: str, message: str, *, retryable: bool = False, **details: Any) -> dict[str, Any]:
    """An error as the journal and the API show it."""
    return {"code": code, "message": message, "retryable": retryable, **({"details": details} if details else {})}


def crashed(**details: Any) -> dict[str, Any]:
    """The error of an attempt of which nobody knows whether it had its effect."""
    return error("crashed", "the process carrying this attempt out died; it may have had its effect", **details)


def poison(cause: dict[str, Any]) -> dict[str, Any]:
    """The error of what brings down every process that carries it out, at last one of its own."""
    return error("poison", f"{MAX_CRASHES} processes died while they carried this out, the last of them with nothing else to do", cause=cause)


def guarded(turn: Turn, name: str, work: Callable[[], None], again: dict[str, None]) -> None:
    """Do `work` for a step. An expression that fails, fails the step; when stored values are lacking, ask for them and note it in `again`."""
    try:
        work()
    except ExpressionFailed as failure:
        fail(turn, name, error("expression_failed", str(failure)))
    except Unloaded as missing:
        turn.loads += missing.references
        again[name] = None


def succeed(turn: Turn, name: str, output: Any, *, iteration: int | None = None, **extra: Any) -> None:
    """The current attempt has a result. In a loop that ends an iteration; `end_iteration` then says whether also the step.

    `iteration` is for steps that never were under way (a `set`), whose state therefore still shows the iteration before.
    """
    planned, step = turn.step(name)
    if planned.step.loop is None:
        turn.emit(Kind.STEP_SUCCEEDED, name, attempt=step.attempt or None, body={"output": output, **extra})
    else:
        turn.emit(Kind.STEP_ITERATED, name, body={"iteration": iteration or step.iteration or 0, "output": output, **extra})


def end_iteration(turn: Turn, name: str, loop: Loop) -> bool:
    """After an iteration: end the step, or pause before the next. True when that may begin now. Raises ExpressionFailed, Unloaded."""
    planned, step = turn.step(name)
    iteration = step.iteration or 0
    done = planned.until is not None and planned.until.holds(turn.scope(name, output=step.output, iteration=iteration))
    last = iteration + 1 >= loop.max_iterations
    if done or (last and (planned.until is None or loop.on_limit == "succeed")):
        turn.emit(Kind.STEP_SUCCEEDED, name, body={"output": step.output})
    elif last:
        fail(turn, name, error("loop_limit", f"the condition was not met within {loop.max_iterations} iterations"))
    elif loop.delay:
        turn.emit(Kind.STEP_WAITING, name, attempt=0, body={"for": "timer", "due": turn.now + loop.delay, "next": True})
    else:
        return True
    return False


def attempt_failed(turn: Turn, name: str, failure: dict[str, Any]) -> None:
    """The current attempt failed: repeat it later, ask a person, or fail the step."""
    planned, step = turn.step(name)
    if waits_for_leave(turn.state, failure):
        turn.emit(Kind.STEP_RETRYING, step_key(name, step.iteration), attempt=step.attempt, body={"error": failure, "due": turn.now})
        ask_for_leave(turn, failure)
        return
    crash = failure.get("code") in CRASH_CODES
    if crash and planned.on_crash != "retry":
        unknown(turn, name, failure)
        return
    if crash and crashed_out(step.crashes + 1):
        fail(turn, name, poison(failure))
        return
    key = step_key(name, step.iteration)
    due = turn.now if crash else retry_at(planned.retry, step.failures + 1, failure, now=turn.now, seed=turn.state.seed, key=key)
    deadline = planned.step.deadline
    if due is None or (deadline is not None and due >= (step.started_at or turn.now) + deadline):
        fail(turn, name, failure)
    else:
        turn.emit(Kind.STEP_RETRYING, key, attempt=step.attempt, body={"error": failure, "due": due})


def unknown(turn: Turn, name: str, failure: dict[str, Any]) -> None:
    """Nobody knows whether this attempt had its effect, and the author does not want it repeated blindly."""
    planned, step = turn.step(name)
    if planned.on_crash == "ask":
        turn.emit(Kind.STEP_WAITING, step_key(name, step.iteration), attempt=step.attempt, body={"for": "decision", "error": failure})
    else:
        fail(turn, name, crashed(attempt=step.attempt))


def fail(turn: Turn, name: str, failure: dict[str, Any]) -> None:
    """The step has failed for good."""
    stop(turn, name)
    turn.emit(Kind.STEP_FAILED, name, attempt=turn.step(name)[1].attempt or None, body={"error": failure})


def cancel(turn: Turn, name: str) -> None:
    """The step is given up, because its run is canceled or has failed."""
    stop(turn, name)
    turn.emit(Kind.STEP_CANCELED, name)


def stop(turn: Turn, name: str) -> None:
    """End what the step has going on: its process, its child runs, its open question."""
    planned, step = turn.step(name)
    waiting = step.waiting or {}
    if step.status is StepStatus.RUNNING and planned.remote:
        turn.commands.append(StopStep(name))
    if "child" in waiting:
        turn.commands.append(CancelChild(waiting["child"]))
    if "approval_id" in waiting:
        close_approval(turn, name, by="canceled")
    give_up(turn, name)
    if step.items is not None and not planned.remote:
        turn.commands.extend(CancelChild(child_id(turn, name, None, index, step.items.attempts[index])) for index in sorted(step.items.running))


def close_approval(turn: Turn, name: str, *, by: str) -> None:
    """Settle an open question without an answer."""
    step = turn.state.steps[name]
    body = {"approval_id": (step.waiting or {})["approval_id"], "approved": False, "decision": "rejected", "by": by, "at": turn.now}
    turn.emit(Kind.APPROVAL_RESOLVED, step_key(name, step.iteration), body=body)


def child_id(turn: Turn, name: str, iteration: int | None, index: int | None, attempt: int) -> str:
    """The id of the run that carries out this attempt of this step or item, the same whenever it is asked for."""
    return derived_uuid7(turn.state.created_at, turn.state.run_id, step_key(name, iteration), index, attempt)
