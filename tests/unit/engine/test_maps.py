"""Maps: order, concurrency, failures that are bearable, retries of single items, and lists that are none."""

from typing import Any

import pytest

from runtime.definition.model import MAX_MAP_ITEMS
from runtime.engine.commands import CancelChild, StartItems, StopStep
from runtime.engine.events import Kind
from runtime.engine.items import bearable, ranges
from tests.unit.engine.driver import Result, World, failure

HEAD = "inputs: {l: {}, o: {}}\n"


def mapped(options: str = "", inputs: Any = None, *, more: str = "", retry: str = "{max_attempts: 1}") -> World:
    """One remote map over `inputs.l`."""
    source = f"{HEAD}steps: {{m: {{python: {{function: 'm:f'}}, map: {{over: inputs.l{options}}}, retry: {retry}{more}}}}}"
    return World(source, {"l": ["a", "b", "c", "d"], "o": {}} if inputs is None else inputs).go()


def test_results_keep_the_order_of_the_list() -> None:
    run = mapped()
    for index in (2, 0, 3, 1):
        run.finish("m", f"r{index}", index=index)
    assert run.output("m") == ["r0", "r1", "r2", "r3"]
    assert run.state.output == {"m": ["r0", "r1", "r2", "r3"]}


def test_all_start_in_one_command() -> None:
    run = mapped()
    (command,) = run.given(StartItems, "m")
    assert command.items == ((0, 1, "a"), (1, 1, "b"), (2, 1, "c"), (3, 1, "d"))
    assert [event.body for event in run.events(Kind.ITEMS_STARTED)] == [{"items": [[0, 3]], "attempt": 1}]


def test_concurrency_is_a_bound() -> None:
    run = mapped(", concurrency: 2")
    assert sorted(run.flights) == [("m", 0), ("m", 1)]
    run.finish("m", index=1)
    assert sorted(run.flights) == [("m", 0), ("m", 2)]
    run.finish("m", index=0).finish("m", index=2).finish("m", index=3)
    assert run.state.status == "succeeded"


def test_one_failure_too_many_ends_the_map_at_once() -> None:
    run = mapped(", max_failures: 1").fail("m", index=2).fail("m", index=0)
    assert run.state.status == "failed"
    assert run.state.error is not None
    assert run.state.error["code"] == "too_many_failures"
    assert run.state.error["details"] == {"failed": 2, "total": 4, "allowed": 1, "first": {"index": 0, "error": failure()}}
    assert run.given(StopStep, "m"), "the rest is stopped"
    assert not run.flights


def test_bearable_failures_are_null_in_the_output() -> None:
    run = mapped(", max_failures: 50%")
    run.fail("m", index=1).finish("m", 1, index=0).finish("m", 3, index=2).finish("m", 4, index=3)
    assert run.output("m") == [1, None, 3, 4]
    assert run.state.status == "succeeded"
    assert run.events(Kind.STEP_SUCCEEDED)[0].body == {"failed": 1}


@pytest.mark.parametrize(("threshold", "total", "allowed"), [(0, 10, 0), (3, 10, 3), ("5%", 100, 5), ("5%", 19, 0), ("100%", 7, 7), ("50%", 0, 0)])
def test_a_share_is_rounded_down(threshold: int | str, total: int, allowed: int) -> None:
    assert bearable(threshold, total) == allowed


def test_partial_results_of_a_failed_map_can_be_used() -> None:
    source = "steps: {m: {ONCE, map: {over: '[1, 2, 3]'}, on_error: continue}, n: {set: {o: '${{ steps.m.output }}'}}}"
    run = World(source).go().finish("m", "x", index=1).fail("m", index=0)
    assert run.output("n") == {"o": [None, "x", None]}
    assert run.state.status == "succeeded"


def test_only_failed_items_are_tried_again() -> None:
    run = mapped(retry="{max_attempts: 3, initial: 10s, jitter: 0}")
    run.fail("m", index=1).finish("m", 0, index=0).finish("m", 2, index=2).finish("m", 3, index=3)
    assert run.state.status == "waiting", "nothing is in flight and the retry is far away"
    assert run.state.waiting_for == "retry"
    assert run.wake_at == run.now + 10_000
    run.wake()
    assert list(run.flights) == [("m", 1)]
    assert run.flights["m", 1].attempt == 2
    run.fail("m", index=1)
    assert run.wake_at == run.now + 20_000
    assert run.wake().finish("m", 1, index=1).output("m") == [0, 1, 2, 3]


def test_retries_go_before_new_items_and_keep_to_the_concurrency() -> None:
    run = mapped(", concurrency: 1", retry="{max_attempts: 2, initial: 1s, jitter: 0}").fail("m", index=0)
    assert list(run.flights) == [("m", 1)], "another item uses the time"
    run.sleep(1000)
    assert list(run.flights) == [("m", 1)], "due, but there is no room"
    run.finish("m", index=1)
    assert list(run.flights) == [("m", 0)]
    run.finish("m", index=0)
    assert list(run.flights) == [("m", 2)]


def test_an_item_that_asks_for_patience_gets_it() -> None:
    run = mapped(retry="{max_attempts: 2, initial: 1s}", inputs={"l": [1]}).fail("m", index=0, retry_after=30)
    assert run.wake_at is not None
    assert 30_000 <= run.wake_at - run.now <= 36_000


def test_an_error_that_makes_no_sense_to_repeat_is_final() -> None:
    run = mapped(retry="{max_attempts: 5, non_retryable: [bad]}", inputs={"l": [1]}).fail("m", "bad", index=0)
    assert run.error("m") == "too_many_failures"


def test_an_empty_list_is_a_success() -> None:
    run = mapped(inputs={"l": [], "o": {}})
    assert run.output("m") == []
    assert run.told("m") == ["step.started", "step.succeeded"]


@pytest.mark.parametrize("value", [{}, "abc", 3, None, True])
def test_what_is_no_list_fails_the_step(value: Any) -> None:
    run = mapped(inputs={"l": value, "o": {}})
    assert run.error("m") == "expression_failed"


def test_too_many_items_fail_the_step() -> None:
    run = mapped(inputs={"l": [0] * (MAX_MAP_ITEMS + 1), "o": {}})
    assert run.state.error is not None
    assert str(MAX_MAP_ITEMS) in run.state.error["message"]


def test_a_list_that_cannot_be_computed_fails_the_step() -> None:
    run = World(f"{HEAD}steps: {{m: {{set: {{}}, map: {{over: inputs.o.gone}}}}}}", {"o": {}}).go()
    assert run.error("m") == "expression_failed"


def test_late_repeated_and_foreign_results_are_dropped() -> None:
    run = mapped(inputs={"l": [1, 2], "o": {}})
    head = run.state.head
    run.go(results=[Result("m", 2, index=0), Result("m", 1), Result("m", 1, index=7)])
    assert run.state.head == head
    first = Result("m", 1, index=0, output="first")
    run.go(results=[first, Result("m", 1, index=0, output="again")])
    run.go(results=[first])
    assert run.output("m") is None
    run.go(results=[Result("m", 1, index=1)])
    assert run.output("m") == ["first", None]


def test_a_set_over_a_list_is_computed_in_the_turn() -> None:
    run = World(
        f"{HEAD}steps: {{m: {{set: {{v: '${{{{ item * 2 }}}}', i: '${{{{ index }}}}'}}, map: {{over: inputs.l, concurrency: 2}}}}}}", {"l": [5, 6, 7]}
    ).go()
    assert run.output("m") == [{"v": 10, "i": 0}, {"v": 12, "i": 1}, {"v": 14, "i": 2}]
    assert run.turns == 1


def test_an_item_whose_expression_fails_is_a_failed_item() -> None:
    run = World(f"{HEAD}steps: {{m: {{set: {{v: '${{{{ item * 2 }}}}'}}, map: {{over: inputs.l, max_failures: 1}}}}}}", {"l": [5, "six", 7]}).go()
    assert run.output("m") == [{"v": 10}, None, {"v": 14}]
    failed = run.state.steps["m"].items
    assert failed is not None
    assert failed.failed[1]["code"] == "expression_failed"


CHILDREN = (
    HEAD
    + """
steps:
  m:
    workflow: {name: other, inputs: {x: '${{ item }}'}}
    map: {over: inputs.l, concurrency: 2}
    retry: {max_attempts: 2, initial: 20s, jitter: 0}
"""
)


def test_a_workflow_over_a_list_makes_a_child_of_each_item() -> None:
    run = World(CHILDREN, {"l": ["a", "b", "c"]}).go()
    assert [(start.index, start.attempt, start.inputs, start.workflow) for start in run.children.values()] == [
        (0, 1, {"x": "a"}, "other"),
        (1, 1, {"x": "b"}, "other"),
    ]
    assert (run.state.status, run.state.waiting_for) == ("waiting", "child")
    run.child_ends("m", "B", index=1)
    assert len(run.children) == 3
    run.child_ends("m", "A", index=0).child_ends("m", "C", index=2)
    assert run.output("m") == ["A", "B", "C"]


def test_a_child_of_an_item_that_fails_gets_a_successor() -> None:
    run = World(CHILDREN, {"l": ["a"]}).go()
    first = run.child("m", 0)
    run.child_ends("m", index=0, status="failed", error={"code": "sad", "message": "no"})
    assert run.state.waiting_for == "retry"
    run.wake()
    assert run.child("m", 0) != first
    run.send("child", run_id=first, step="m", index=0, status="succeeded", output="late")
    assert not run.state.ended, "the first child counts no more"
    assert run.child_ends("m", "good", index=0).output("m") == ["good"]


def test_children_of_items_are_canceled_with_the_map() -> None:
    run = World(CHILDREN, {"l": ["a", "b", "c"]}).go().send("cancel")
    assert {command.child for command in run.commands if isinstance(command, CancelChild)} == {run.child("m", 0), run.child("m", 1)}
    assert run.state.status == "canceled"


def test_a_child_of_an_item_that_ends_after_its_map_is_dropped() -> None:
    source = "steps: {m: {workflow: {name: other}, map: {over: '[1, 2]'}, retry: {max_attempts: 1}, on_error: continue}, a: {PY}}"
    run = World(source).go().child_ends("m", index=0, status="failed")
    assert run.statuses() == {"m": "failed", "a": "running"}
    head = run.state.head
    assert run.child_ends("m", "late", index=1).state.head == head


@pytest.mark.parametrize(("indices", "expected"), [([], []), ([3], [[3, 3]]), ([1, 2, 3, 7, 9, 8], [[1, 3], [7, 9]])])
def test_ranges(indices: list[int], expected: list[list[int]]) -> None:
    assert ranges(indices) == expected
