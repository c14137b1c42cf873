"""A budget that is used up: the step fails like any other, or the run waits for a person's leave and uses no attempt up by it."""

from dataclasses import replace
from typing import Any

import pytest

from runtime.engine.commands import StartStep
from runtime.engine.events import Kind
from tests.unit.engine.driver import Result, World, failure

SHORT = {"scope": "run", "name": "run", "period": "run", "measure": "usd", "spent": "4.9", "limit": "5", "wanted": "0.2"}
ASK = failure("budget_exceeded", details={"budget": SHORT, "on_exceeded": "ask"}) | {"retryable": False}
STOP = failure("budget_exceeded", details={"budget": SHORT, "on_exceeded": "stop"}) | {"retryable": False}
CALL = {"name": "model", "n": 1, "result": {}}


def lasting(source: str, duration: int, how: str = "stop") -> World:
    """A run whose budget is a duration (ms)."""
    world = World(source)
    world.journal[0].body["budget"] = {"duration": duration, "on_exceeded": how}
    world.state = world.refold()
    return world


def landed(world: World, index: int, **how: Any) -> Result:
    """How the attempt of this item of `a` ends."""
    return replace(world.flights["a", index], **how)


def test_stop_fails_the_step_and_the_run() -> None:
    world = World("steps: {a: {PY}, b: {PY, needs: [a]}}").go()
    world.finish("a", error=STOP)
    assert world.error("a") == "budget_exceeded"
    assert (world.state.status, world.state.error["code"]) == ("failed", "budget_exceeded")


def test_ask_pauses_the_run_and_the_attempt_is_not_used_up() -> None:
    world = World("steps: {a: {ONCE}}").go()
    world.finish("a", error=ASK)
    assert (world.state.status, world.state.waiting_for, world.state.short) == ("paused", "budget", SHORT)
    assert world.statuses() == {"a": "retrying"}
    assert (world.state.steps["a"].failures, world.state.steps["a"].attempt) == (0, 1)
    world.send("resume", budget={"usd": "10"})
    assert (world.state.status, world.state.waiting_for, world.state.short) == ("running", None, None)
    assert world.state.budget == {"usd": "10", "on_exceeded": "stop"}
    assert (world.statuses(), world.state.steps["a"].attempt) == ({"a": "running"}, 2)
    world.finish("a", "done")
    assert world.state.status == "succeeded"


def test_the_next_attempt_has_the_calls_of_the_one_before() -> None:
    world = World("steps: {a: {ONCE}}").go()
    world.record("a", CALL)
    world.finish("a", error=ASK)
    world.send("resume")
    assert world.given(StartStep, "a")[-1].calls == (CALL,)


def test_without_more_money_it_pauses_again() -> None:
    world = World("steps: {a: {ONCE}}").go()
    for attempt in (1, 2, 3):
        assert world.state.steps["a"].attempt == attempt
        world.finish("a", error=ASK)
        assert world.state.status == "paused"
        world.send("resume")
    assert len(world.events(Kind.RUN_PAUSED)) == len(world.events(Kind.RUN_RESUMED)) == 3


def test_items_wait_and_go_on() -> None:
    world = World("steps: {a: {ONCE, map: {over: '[1, 2, 3]'}}}").go()
    world.go(results=[landed(world, 0, output="zero"), landed(world, 1, error=ASK), landed(world, 2, error=ASK)])
    assert (world.state.status, len(world.events(Kind.RUN_PAUSED))) == ("paused", 1)
    items = world.state.steps["a"].items
    assert (items.done, items.failures, items.crashes, sorted(items.retrying)) == (1, {}, {}, [1, 2])
    world.send("resume", budget={"calls": 9})
    assert sorted(world.state.steps["a"].items.running) == [1, 2]
    world.go(results=[landed(world, 1, output="one"), landed(world, 2, output="two")])
    assert (world.state.status, world.output("a")) == ("succeeded", ["zero", "one", "two"])


def test_a_map_fails_with_what_stopped_it() -> None:
    world = World("steps: {a: {ONCE, map: {over: '[1, 2, 3]'}}}").go()
    world.go(results=[landed(world, 0, error=STOP), landed(world, 1, error=STOP)])
    assert (world.error("a"), world.state.error["code"]) == ("budget_exceeded", "budget_exceeded")


def test_a_run_that_is_being_canceled_asks_nobody() -> None:
    world = World("steps: {a: {ONCE}}\nfinally: {z: {ONCE}}").go()
    world.send("cancel")
    world.finish("z", error=ASK)
    assert (world.state.status, world.error("z")) == ("canceled", "budget_exceeded")


def test_a_pause_by_hand_says_no_reason() -> None:
    world = World("steps: {a: {ONCE}}").go()
    world.send("pause")
    assert (world.state.status, world.state.waiting_for, world.state.short) == ("paused", None, None)
    world.finish("a", error=ASK)
    assert (world.state.status, world.state.waiting_for, len(world.events(Kind.RUN_PAUSED))) == ("paused", None, 1)


def test_a_run_ends_when_its_time_is_over() -> None:
    world = lasting("steps: {a: {ONCE}}", 60_000).go()
    world.sleep(59_999)
    assert world.state.status == "running"
    world.sleep(1)
    assert (world.state.status, world.state.error["code"]) == ("failed", "budget_exceeded")
    assert world.state.error["details"]["budget"]["measure"] == "duration"
    assert world.statuses() == {"a": "canceled"}


def test_waiting_for_people_takes_no_time() -> None:
    world = lasting("steps: {a: {approval: {message: well}}, b: {ONCE, needs: [a]}}", 60_000).go()
    assert world.state.waiting_for == "approval"
    world.sleep(600_000)
    assert world.state.status == "waiting"
    world.decide("a")
    world.sleep(59_999)
    assert world.state.status == "running"
    world.sleep(1)
    assert world.state.status == "failed"


def test_a_pause_takes_no_time_and_a_timer_does() -> None:
    world = lasting("steps: {a: {wait: {for: 1h}}}", 60_000).go()
    world.sleep(30_000)
    world.send("pause")
    world.sleep(600_000)
    assert world.state.status == "paused"
    world.send("resume")
    world.sleep(29_999)
    assert world.state.status in {"running", "waiting"}
    world.sleep(1)
    assert world.state.status == "failed"


def test_time_can_be_asked_for_too() -> None:
    world = lasting("steps: {a: {ONCE}}", 60_000, "ask").go()
    world.sleep(60_000)
    assert (world.state.status, world.state.waiting_for, world.state.short["measure"]) == ("paused", "budget", "duration")
    world.send("resume", budget={"duration": 90_000})
    assert world.statuses() == {"a": "running"}
    world.sleep(29_999)
    assert world.state.status == "running"
    world.sleep(1)
    assert world.state.status == "paused"
    world.finish("a", "done")
    assert world.statuses() == {"a": "succeeded"}
    world.send("resume", budget={"duration": 900_000})
    assert world.state.status == "succeeded"


@pytest.mark.parametrize("parent", [{"run_id": "top", "step": "s", "depth": 1}, {"run_id": "between", "step": "s", "depth": 2, "root": "top"}])
def test_a_run_below_another_spends_the_root_s_money_and_no_time_of_its_own(parent: dict[str, Any]) -> None:
    world = lasting("steps: {a: {ONCE}}", 10)
    world.journal[0].body["parent"] = parent
    world.state = world.refold()
    assert world.state.root == "top"
    world.go()
    world.sleep(100_000)
    assert world.state.status == "running"
