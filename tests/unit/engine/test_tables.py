"""Every pair of state and event of both machines: what the table has, happens; everything else is refused."""

import pytest

from runtime.engine.events import RUN_ENDS, STEP_ENDS, Event, Kind, body_of
from runtime.engine.states import (
    RUN_TRANSITIONS,
    STEP_TRANSITIONS,
    TERMINAL_RUN,
    TERMINAL_STEP,
    RunStatus,
    StepStatus,
    run_after,
    step_after,
)
from runtime.errors import InvalidTransition


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("status", RunStatus)
def test_every_pair_of_the_run(status: RunStatus, kind: Kind) -> None:
    after = RUN_TRANSITIONS.get(kind, {}).get(status)
    if after is None:
        with pytest.raises(InvalidTransition, match=f"a run that is {status} cannot have {kind}"):
            run_after(status, kind)
    else:
        assert run_after(status, kind) is after


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("status", StepStatus)
def test_every_pair_of_the_step(status: StepStatus, kind: Kind) -> None:
    after = STEP_TRANSITIONS.get(kind, {}).get(status)
    if after is None:
        with pytest.raises(InvalidTransition, match=f"a step that is {status} cannot have {kind}"):
            step_after(status, kind)
    else:
        assert step_after(status, kind) is after


def test_nothing_leaves_an_end() -> None:
    assert all(not TERMINAL_RUN & changes.keys() for changes in RUN_TRANSITIONS.values())
    assert all(not TERMINAL_STEP & changes.keys() for changes in STEP_TRANSITIONS.values())


def test_the_ends_are_reached_by_their_own_events_only() -> None:
    assert {kind for kind, changes in RUN_TRANSITIONS.items() if TERMINAL_RUN & set(changes.values())} == set(RUN_ENDS)
    assert {kind for kind, changes in STEP_TRANSITIONS.items() if TERMINAL_STEP & set(changes.values())} == set(STEP_ENDS)
    assert all(RunStatus(kind.value.removeprefix("run.")) in TERMINAL_RUN for kind in RUN_ENDS)


def test_every_state_can_be_reached_and_can_end() -> None:
    for first, tables, ends in ((RunStatus.QUEUED, RUN_TRANSITIONS, TERMINAL_RUN), (StepStatus.PENDING, STEP_TRANSITIONS, TERMINAL_STEP)):
        arrows = {(before, after) for changes in tables.values() for before, after in changes.items()}
        assert {first} | {after for _, after in arrows} == set(type(first))
        alive = set(ends)
        for _ in type(first):
            alive |= {before for before, after in arrows if after in alive}
        assert alive == set(type(first))


def test_ended_is_what_the_sets_say() -> None:
    assert {status for status in RunStatus if status.ended} == TERMINAL_RUN
    assert {status for status in StepStatus if status.ended} == TERMINAL_STEP


def test_a_body_that_is_missing_is_a_broken_invariant() -> None:
    with pytest.raises(InvalidTransition, match=r"run\.failed came without a body"):
        body_of(Event(2, 1, Kind.RUN_FAILED, 0))
