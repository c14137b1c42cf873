"""A run whose time is over: its deadline has come, or it has worked for as long as its budget lets it."""

from runtime.engine.budget import ask_for_leave, waits_for_leave
from runtime.engine.clock import allowed, worked
from runtime.engine.events import Kind
from runtime.engine.finish import error
from runtime.engine.retry import BUDGET_CODE
from runtime.engine.turn import Turn


def watch_the_run(turn: Turn) -> None:
    """End a run at its deadline; end or pause one that has worked for as long as it may."""
    deadline = turn.state.plan.definition.deadline
    if deadline is not None and turn.state.started_at is not None and turn.now >= turn.state.started_at + deadline:
        turn.emit(Kind.RUN_FAILING, body={"error": error("deadline", "the run did not end before its deadline")})
    else:
        _watch_the_clock(turn)


def _watch_the_clock(turn: Turn) -> None:
    state, duration = turn.state, allowed(turn.state)
    if duration is None or state.working_since is None or worked(state, turn.now) < duration:
        return
    found = {"scope": "run", "name": state.run_id, "period": "run", "measure": "duration", "spent": worked(state, turn.now), "limit": duration, "wanted": 0}
    how = (state.budget or {}).get("on_exceeded", "stop")
    failure = error(BUDGET_CODE, f"the budget of the run is used up: it has worked for {duration} ms", budget={**found, "on_exceeded": how}, on_exceeded=how)
    if waits_for_leave(state, failure):
        ask_for_leave(turn, failure)
    else:
        turn.emit(Kind.RUN_FAILING, body={"error": failure})
