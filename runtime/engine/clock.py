"""How long a run has worked: wall time without pauses and without waiting for people. What `budget.duration` limits."""

from runtime.engine.state import RunState


def start(state: RunState, at: int) -> None:
    """Time counts from `at` (ms)."""
    if state.working_since is None:
        state.working_since = at


def stop(state: RunState, at: int) -> None:
    """Time counts no more."""
    state.worked = worked(state, at)
    state.working_since = None


def worked(state: RunState, at: int) -> int:
    """Milliseconds until `at`."""
    return state.worked + (0 if state.working_since is None else max(0, at - state.working_since))


def allowed(state: RunState) -> int | None:
    """The duration of the run's budget (ms); None without one. Of a run below another the root's counts, by the root's clock."""
    return None if state.parent is not None or state.budget is None else state.budget.get("duration")


def alarm_at(state: RunState, at: int) -> int | None:
    """When it will have worked for as long as it may, if nothing stops it from `at` on."""
    duration = allowed(state)
    return None if duration is None else at + max(0, duration - worked(state, at))
