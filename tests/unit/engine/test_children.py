"""Child runs: started once, awaited, repeated under a new id, canceled with their parent."""

import pytest

from runtime.engine.commands import CancelChild
from tests.unit.engine.driver import World

SOURCE = """
inputs: {x: {}}
steps:
  k: {workflow: {name: other, inputs: {v: '${{ inputs.x }}'}}, retry: {max_attempts: 3, initial: 10s, jitter: 0}}
  after: {set: {o: '${{ steps.k.output.v }}'}}
"""


def parent(x: int = 1) -> World:
    return World(SOURCE, {"x": x}).go()


def test_a_child_is_started_and_its_output_is_the_steps() -> None:
    run = parent(7)
    (start,) = run.children.values()
    assert (start.step, start.workflow, start.version, start.inputs, start.iteration, start.index, start.attempt) == (
        "k",
        "other",
        None,
        {"v": 7},
        None,
        None,
        1,
    )
    assert (run.owned, run.state.status, run.state.waiting_for) == (False, "waiting", "child")
    assert run.child_ends("k", {"v": 8}).output("after") == {"o": 8}


def test_a_child_that_failed_is_followed_by_another() -> None:
    run = parent()
    first = run.child("k")
    run.child_ends("k", status="failed", error={"code": "sad", "message": "no luck", "retryable": True})
    assert (run.state.status, run.state.waiting_for) == ("waiting", "retry")
    run.wake()
    second = run.child("k")
    assert second != first
    assert run.children[second].attempt == 2
    run.send("child", run_id=first, step="k", index=None, status="succeeded", output="late")
    assert run.statuses()["k"] == "waiting", "the first child counts no more"
    run.child_ends("k", {"v": 2})
    assert run.state.status == "succeeded"


def test_a_child_that_failed_for_good_fails_the_step() -> None:
    run = parent().child_ends("k", status="failed", error={"code": "sad", "message": "no luck", "retryable": False})
    assert run.state.error is not None
    assert (run.state.error["code"], run.state.error["message"]) == ("child_failed", "no luck")
    assert run.state.error["details"]["error"]["code"] == "sad"


def test_a_child_that_was_canceled_fails_the_step_and_is_not_repeated() -> None:
    run = parent().child_ends("k", status="canceled")
    assert run.error("k") == "child_canceled"
    assert run.state.error is not None
    assert run.state.error["message"] == "the child run ended canceled"
    assert len(run.children) == 1


def test_a_crash_starts_no_second_child() -> None:
    run = parent().crash().go()
    assert len(run.children) == 1
    assert run.child_ends("k", {"v": 1}).state.status == "succeeded"


def test_cancel_reaches_the_child() -> None:
    run = parent().send("cancel")
    assert [command.child for command in run.commands if isinstance(command, CancelChild)] == [run.child("k")]
    assert run.state.status == "canceled"
    head = run.state.head
    run.child_ends("k", status="canceled")
    assert run.state.head == head


@pytest.mark.parametrize("step", ["nobody", "after"])
def test_a_message_of_a_child_nobody_waits_for_is_dropped(step: str) -> None:
    run = parent()
    run.send("child", run_id="unknown", step=step, index=None, status="succeeded")
    run.send("child", run_id="unknown", step=step, index=3, status="succeeded")
    assert run.statuses()["k"] == "waiting"
    assert run.last is not None
    assert run.last.applied == ["m2"], "applied all the same, so that it does not come again"


def test_a_child_whose_inputs_cannot_be_computed_is_not_started() -> None:
    run = World("inputs: {o: {}}\nsteps: {k: {workflow: {name: other, inputs: {v: '${{ inputs.o.gone }}'}}}}", {"o": {}}).go()
    assert run.error("k") == "expression_failed"
    assert not run.children


def test_a_pinned_version_is_passed_on() -> None:
    run = World(f"steps: {{k: {{workflow: {{name: other, version: '{'a' * 64}'}}}}}}").go()
    assert next(iter(run.children.values())).version == "a" * 64
