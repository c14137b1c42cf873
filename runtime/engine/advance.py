"""`advance`: one whole turn of a run. What came in, then what follows; all of it pure."""

from collections.abc import Iterable
from functools import partial

from runtime.engine import react
from runtime.engine.begin import begin
from runtime.engine.decide import decide, stopping
from runtime.engine.finish import cancel, guarded, unknown
from runtime.engine.items import Outcome, restart
from runtime.engine.react import Letter
from runtime.engine.state import RunState
from runtime.engine.states import StepStatus
from runtime.engine.turn import Turn

PATIENCE_MS = 5_000


def advance(
    state: RunState,
    *,
    now: int,
    results: Iterable[Outcome] = (),
    messages: Iterable[Letter] = (),
    recover: bool = False,
    hold: bool = False,
    patience_ms: int = PATIENCE_MS,
) -> Turn:
    """Apply results and messages, then decide. `state` is consumed: the turn's events are already folded into it.

    `recover`: the caller has just claimed the run, so nothing can be in flight for it any more.
    `hold`: only record what came in; whoever owns the run next decides what follows.
    When the turn asks for `loads`, bring the values into `state.loaded` and call again; both turns' events belong into one append.
    """
    turn = Turn(state, now)
    react.results(turn, results)
    react.messages(turn, messages)
    if hold:
        return turn
    if recover:
        state.lost.update(dict.fromkeys(state.active))
    if not state.ended:
        _recover(turn)
        decide(turn, patience_ms)
    return turn


def _recover(turn: Turn) -> None:
    """What the previous owner had in flight is lost, or will be joined by its executor: start it again by `on_crash`."""
    lost = turn.state.lost
    turn.recovering = True
    for name in list(lost):
        del lost[name]
        guarded(turn, name, partial(_restart, turn, name), lost)
    turn.recovering = False


def _restart(turn: Turn, name: str) -> None:
    """Start one lost step again, unless its run is being wound up. Raises Unloaded."""
    planned, step = turn.step(name)
    if step.status is not StepStatus.RUNNING or not planned.remote:
        return
    if stopping(turn.state) and not planned.final:
        cancel(turn, name)
    elif step.items is not None:
        restart(turn, name, step.items)
    elif step.attempt and planned.on_crash == "retry":
        begin(turn, name, iteration=step.iteration, attempt=step.attempt + 1)
    elif step.attempt:
        unknown(turn, name, {"code": "executor_lost", "message": "the process that owned the run died", "retryable": True})
