"""What follows from a budget that is used up: the step fails like any other, or the run stops for a person's leave to spend more.

Who makes the calls finds out, and says so as a failure with the code `budget_exceeded`. A duration the engine watches itself (overtime.py).
"""

from typing import Any

from runtime.engine.events import Kind
from runtime.engine.retry import BUDGET_CODE
from runtime.engine.state import RunState
from runtime.engine.states import RUN_TRANSITIONS, RunStatus, WaitingFor
from runtime.engine.turn import Turn


def waits_for_leave(state: RunState, failure: dict[str, Any]) -> bool:
    """Whether this failure is none: a person is asked, and the attempt is made again. Not while the run is being wound up."""
    asks = failure.get("code") == BUDGET_CODE and (failure.get("details") or {}).get("on_exceeded") == "ask"
    return asks and (state.status is RunStatus.PAUSED or state.status in RUN_TRANSITIONS[Kind.RUN_PAUSED])


def ask_for_leave(turn: Turn, failure: dict[str, Any]) -> None:
    """Pause the run; what is under way goes on to its end. A run that is paused already stays as it is."""
    if turn.state.status is not RunStatus.PAUSED:
        body = {"waiting_for": WaitingFor.BUDGET.value, "budget": (failure.get("details") or {}).get("budget"), "message": failure.get("message")}
        turn.emit(Kind.RUN_PAUSED, body=body)
