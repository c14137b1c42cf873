"""The fold refuses what cannot follow."""

from typing import Any

import pytest

from runtime.engine.events import Event, Kind
from runtime.engine.evolve import evolve, fold
from runtime.errors import InvalidTransition
from tests.unit.engine.driver import START, World, planned

SOURCE = "inputs: {l: {}}\nsteps: {a: {python: {function: 'm:f'}}, m: {python: {function: 'm:f'}, map: {over: inputs.l}}, s: {signal: {name: go}}}"


def run() -> World:
    return World(SOURCE, {"l": [1, 2]}).go()


def follow(world: World, kind: Kind, step: str | None = None, body: Any = None, *, seq: int = 0, epoch: int = 0, attempt: int | None = None) -> None:
    state = world.state
    evolve(state, Event(state.head + 1 + seq, state.epoch + epoch, kind, START, step, attempt, body))


@pytest.mark.parametrize(("seq", "epoch"), [(1, 0), (-1, 0), (0, 1), (0, -1)])
def test_the_number_and_the_epoch_have_to_follow(seq: int, epoch: int) -> None:
    with pytest.raises(InvalidTransition, match="does not follow"):
        follow(run(), Kind.RUN_PAUSED, seq=seq, epoch=epoch)


@pytest.mark.parametrize("epoch", [0, 2])
def test_a_claim_raises_the_epoch_by_one(epoch: int) -> None:
    with pytest.raises(InvalidTransition, match="does not follow"):
        follow(run(), Kind.RUN_CLAIMED, epoch=epoch)
    world = run()
    follow(world, Kind.RUN_CLAIMED, epoch=1)
    assert world.state.epoch == 2


def test_a_run_is_created_once_and_first() -> None:
    with pytest.raises(InvalidTransition, match=r"run\.created cannot be event 8"):
        follow(run(), Kind.RUN_CREATED, body={})
    with pytest.raises(InvalidTransition, match=r"run\.started cannot be event 1"):
        fold(planned(SOURCE), [Event(1, 0, Kind.RUN_STARTED, START)])


@pytest.mark.parametrize("kind", [Kind.RUN_CLAIMED, Kind.SIGNAL_RECEIVED, Kind.CALL_FINISHED, Kind.STEP_STARTED, Kind.RUN_FAILED])
def test_nothing_follows_the_end(kind: Kind) -> None:
    world = run()
    follow(world, Kind.RUN_FAILED, body={"error": {"code": "broken_run"}})
    with pytest.raises(InvalidTransition, match="a run that is failed"):
        follow(world, kind, "a", {"name": "go"}, epoch=kind is Kind.RUN_CLAIMED)


@pytest.mark.parametrize("kind", [Kind.STEP_STARTED, Kind.CALL_FINISHED, Kind.APPROVAL_RESOLVED])
@pytest.mark.parametrize("step", ["nobody", "nobody#1", None])
def test_a_step_the_definition_does_not_have(kind: Kind, step: str | None) -> None:
    with pytest.raises(InvalidTransition, match="has no step"):
        follow(run(), kind, step, {})


@pytest.mark.parametrize("kind", [Kind.STEP_FAILED, Kind.STEP_RETRYING, Kind.ITEMS_FINISHED, Kind.ITEMS_STARTED])
def test_a_body_that_is_missing(kind: Kind) -> None:
    with pytest.raises(InvalidTransition, match="without a body"):
        follow(run(), kind, "m")


@pytest.mark.parametrize("kind", [Kind.ITEMS_STARTED, Kind.ITEMS_FINISHED, Kind.ITEMS_REUSED])
def test_items_of_a_step_that_has_none(kind: Kind) -> None:
    with pytest.raises(InvalidTransition, match="no map"):
        follow(run(), kind, "a", {"items": [], "done": []})


def test_a_total_for_a_step_that_is_no_map() -> None:
    with pytest.raises(InvalidTransition, match="'a' is no map"):
        follow(run(), Kind.STEP_STARTED, "a", {"total": 3}, attempt=1)


def test_an_item_succeeds_once() -> None:
    world = run().finish("m", 1, index=0)
    with pytest.raises(InvalidTransition, match="item 0 has already succeeded"):
        follow(world, Kind.ITEMS_FINISHED, "m", {"done": [[0, 1]]})


def test_a_signal_is_taken_once_and_in_order() -> None:
    world = run()
    taken = {"output": 1, "signal": {"name": "go", "message_id": "m9"}}
    with pytest.raises(InvalidTransition, match="is not the oldest signal"):
        follow(world, Kind.STEP_SUCCEEDED, "s", taken)
    world = run()
    follow(world, Kind.SIGNAL_RECEIVED, body={"name": "go", "payload": 1, "message_id": "m1"})
    with pytest.raises(InvalidTransition, match="is not the oldest signal"):
        follow(world, Kind.STEP_SUCCEEDED, "s", taken)


def test_what_a_step_scheduled_means() -> None:
    world = World(SOURCE, {"l": []})
    follow(world, Kind.STEP_SCHEDULED, "a")
    assert world.state.steps["a"].status == "scheduled"
    assert list(world.state.active) == ["a"]


def test_a_fold_can_go_on_from_a_fold() -> None:
    world = run().finish("a", 1)
    half = fold(world.plan, world.journal[:4], run_id="run")
    assert fold(world.plan, world.journal[4:], half) == world.refold()


def test_what_the_created_event_says_is_kept() -> None:
    body = {
        "inputs": {},
        "mode": "simulated",
        "seed": 9,
        "parent": {"run_id": "p"},
        "forked_from": {"run_id": "f"},
        "labels": {"team": "x"},
        "traceparent": "00-1",
    }
    state = fold(planned(SOURCE), [Event(1, 0, Kind.RUN_CREATED, START, body=body)])
    assert (state.mode, state.seed, state.parent, state.forked_from, state.labels, state.traceparent) == (
        "simulated",
        9,
        {"run_id": "p"},
        {"run_id": "f"},
        {"team": "x"},
        "00-1",
    )
