"""Loops over each kind of step: until, limits, delays, and what an iteration sees of the one before."""

from typing import Any

import pytest

from runtime.engine.events import Kind
from tests.unit.engine.driver import World

HEAD = "inputs: {n: {}}\n"
REMOTE = "python: {function: 'm:f', args: {p: '${{ previous }}', i: '${{ iteration }}'}}"


def looped(kind: str, loop: str, inputs: Any = None, **more: Any) -> World:
    return World(f"{HEAD}steps: {{s: {{{kind}, loop: {loop}}}, after: {{set: {{o: '${{{{ steps.s.output }}}}'}}}}}}", inputs or {"n": 0}, **more).go()


def test_until_ends_the_loop_and_the_last_output_is_the_steps() -> None:
    run = looped(REMOTE, "{until: output > 2}")
    for value in (1, 2):
        run.finish("s", value)
        assert run.state.status == "running"
    assert run.finish("s", 3).output("after") == {"o": 3}
    assert [event.body for event in run.events(Kind.STEP_ITERATED)] == [{"iteration": i, "output": i + 1} for i in range(3)]


def test_an_iteration_sees_its_number_and_the_output_before() -> None:
    run = looped(REMOTE, "{max_iterations: 3}")
    seen = []
    for value in ("x", "y", "z"):
        seen.append(run.values["s", None])
        run.finish("s", value)
    assert seen == [{"iteration": 0, "previous": None}, {"iteration": 1, "previous": "x"}, {"iteration": 2, "previous": "y"}]
    assert run.output("s") == "z"


def test_until_sees_the_iteration_and_the_output() -> None:
    run = looped("set: {x: '${{ iteration * 10 }}'}", "{until: iteration == 3 && output.x == 30}")
    assert run.output("s") == {"x": 30}


def test_a_set_goes_on_from_its_previous_output() -> None:
    run = looped("set: {sum: '${{ (previous == null ? inputs.n : previous.sum) + iteration }}'}", "{until: output.sum >= 10, max_iterations: 20}", {"n": 1})
    assert run.output("s") == {"sum": 11}
    assert run.turns == 1


@pytest.mark.parametrize(("on_limit", "status"), [("fail", "failed"), ("succeed", "succeeded")])
def test_the_limit_of_a_loop_whose_condition_never_came_true(on_limit: str, status: str) -> None:
    run = looped("set: {i: '${{ iteration }}'}", f"{{until: 'false', max_iterations: 4, on_limit: {on_limit}}}")
    assert run.statuses()["s"] == status
    assert len(run.events(Kind.STEP_ITERATED)) == 4
    if status == "failed":
        assert run.error("s") == "loop_limit"
    else:
        assert run.output("s") == {"i": 3}


def test_without_a_condition_the_limit_is_the_plan() -> None:
    assert looped("set: {i: '${{ iteration }}'}", "{max_iterations: 5}").output("s") == {"i": 4}


def test_a_condition_that_fails_fails_the_step() -> None:
    assert looped("set: {i: 1}", "{until: output.gone}").error("s") == "expression_failed"
    assert looped("set: {i: 1}", "{until: output.i}").error("s") == "expression_failed", "a number is no condition"


def test_a_delay_releases_the_run_between_iterations() -> None:
    run = looped(REMOTE, "{max_iterations: 2, delay: 1m}").finish("s", 1)
    assert (run.state.status, run.state.waiting_for, run.wake_at) == ("waiting", "timer", run.now + 60_000)
    assert not run.owned
    run.wake()
    assert run.values["s", None] == {"iteration": 1, "previous": 1}
    assert run.finish("s", 2).state.status == "succeeded"


def test_a_delayed_set() -> None:
    run = looped("set: {i: '${{ iteration }}'}", "{max_iterations: 3, delay: 10s}")
    assert run.wake().wake().output("s") == {"i": 2}


def test_an_attempt_of_an_iteration_is_repeated_within_it() -> None:
    run = looped(REMOTE + ", retry: {max_attempts: 2, jitter: 0}", "{max_iterations: 2}").finish("s", "one").fail("s")
    run.wake()
    assert (run.flights["s", None].iteration, run.flights["s", None].attempt) == (1, 2)
    assert run.values["s", None] == {"iteration": 1, "previous": "one"}
    assert run.finish("s", "two").output("s") == "two"


def test_each_iteration_has_its_own_attempts() -> None:
    run = looped(REMOTE + ", retry: {max_attempts: 2, jitter: 0}", "{max_iterations: 2}").fail("s").wake().finish("s").fail("s").wake()
    assert run.fail("s").state.status == "failed"


def test_a_result_of_an_earlier_iteration_is_dropped() -> None:
    run = looped(REMOTE, "{max_iterations: 2}").finish("s", 1)
    run.go(results=run.stale)
    assert run.state.steps["s"].iteration == 1
    assert run.finish("s", 2).output("s") == 2


def test_an_approval_asked_again_and_again() -> None:
    run = looped("approval: {message: 'Round ${{ iteration }}', on_reject: continue}", "{until: output.approved, max_iterations: 3}")
    first = run.state.steps["s"].waiting
    run.decide("s", approved=False)
    second = run.state.steps["s"].waiting
    assert first is not None
    assert second is not None
    assert first["approval_id"] != second["approval_id"]
    run.send("approval", approval_id=first["approval_id"], approved=True)
    assert not run.state.ended, "an answer to the first question is none to the second"
    assert run.decide("s").state.status == "succeeded"
    assert [event.body["message"] for event in run.events(Kind.APPROVAL_REQUESTED) if event.body] == ["Round 0", "Round 1"]
    assert [event.step for event in run.events(Kind.APPROVAL_RESOLVED)] == ["s#0", "s#1"]


def test_a_wait_repeated() -> None:
    run = looped("wait: {for: 10s}", "{max_iterations: 2}").wake()
    assert run.state.status == "waiting"
    assert run.wake().state.status == "succeeded"
    assert run.output("s") == {"due": run.now}


@pytest.mark.parametrize("kind", ["wait: {for: 10s}", "approval: {message: m}", "signal: {name: go}", "workflow: {name: other}"])
def test_from_the_pause_between_two_iterations_into_the_next_wait(kind: str) -> None:
    run = looped(kind, "{max_iterations: 2, delay: 1m}")
    for iteration in (0, 1):
        assert run.state.steps["s"].iteration == iteration
        if "approval" in kind:
            run.decide("s")
        elif "signal" in kind:
            run.send("signal", name="go")
        elif "workflow" in kind:
            run.child_ends("s")
        else:
            run.wake()
        if iteration == 0:
            assert (run.state.waiting_for, run.wake_at) == ("timer", run.now + 60_000)
            run.wake()
    assert run.state.status == "succeeded"


def test_a_wait_of_no_time_repeated() -> None:
    assert looped("wait: {for: 0s}", "{max_iterations: 3}").told("s").count("step.iterated") == 3


def test_signals_taken_one_by_one() -> None:
    run = looped("signal: {name: go}", "{until: 'output == 3', max_iterations: 5}")
    for number in (1, 2, 3):
        run.send("signal", name="go", payload=number)
    assert run.output("s") == 3


def test_signals_that_came_early_are_all_taken_in_order() -> None:
    run = World(HEAD + "steps: {a: {python: {function: 'm:f'}}, s: {signal: {name: go}, loop: {until: 'output == 3'}, needs: [a]}}").go()
    for number in (1, 2, 3, 4):
        run.send("signal", name="go", payload=number)
    run.finish("a")
    assert run.output("s") == 3
    assert [signal["payload"] for signal in run.state.signals["go"]] == [4]


def test_children_one_after_the_other() -> None:
    run = looped("workflow: {name: other, inputs: {p: '${{ previous }}'}}, retry: {max_attempts: 2, jitter: 0}", "{until: output.done}")
    run.child_ends("s", {"done": False}).child_ends("s", status="failed").wake().child_ends("s", {"done": True})
    assert [(start.iteration, start.attempt, start.inputs["p"]) for start in run.children.values()] == [
        (0, 1, None),
        (1, 1, {"done": False}),
        (1, 2, {"done": False}),
    ]
    assert run.state.status == "succeeded"


def test_a_loop_stopped_between_two_iterations() -> None:
    run = looped(REMOTE, "{max_iterations: 2, delay: 1m}").finish("s", 1).send("cancel")
    assert run.state.status == "canceled"


def test_a_deadline_over_all_iterations() -> None:
    run = looped(REMOTE + ", deadline: 90s", "{max_iterations: 5, delay: 1m}").finish("s", 1).wake()
    assert run.flights["s", None].iteration == 1
    run.sleep(30_000)
    assert run.error("s") == "deadline"
