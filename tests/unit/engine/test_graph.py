"""Which step runs when: dependencies, joins, conditions, switches, failures that go elsewhere, and `finally`."""

import pytest

from runtime.engine.events import Kind
from runtime.engine.scope import Scope
from tests.unit.engine.driver import Result, World


def test_a_step_starts_when_all_it_needs_has_succeeded() -> None:
    run = World("steps: {a: {PY}, b: {PY}, c: {PY, needs: [a, b]}}").go()
    assert run.statuses() == {"a": "running", "b": "running", "c": "pending"}
    run.finish("a", 1)
    assert run.statuses()["c"] == "pending"
    run.finish("b", 2)
    assert run.statuses()["c"] == "running"
    run.finish("c", 3)
    assert run.state.status == "succeeded"
    assert run.state.output == {"c": 3}, "the outputs of the steps nobody needs"


def test_an_expression_makes_a_step_depend() -> None:
    run = World("steps: {b: {set: {x: '${{ steps.a.output + 1 }}'}}, a: {PY}}\noutputs: {y: steps.b.output.x}").go()
    assert run.finish("a", 41).state.output == {"y": 42}


def test_an_executor_gets_the_names_its_templates_use() -> None:
    run = World(
        """
inputs: {n: {type: integer}}
steps:
  a: {PY}
  b: {python: {function: 'm:f', args: {x: '${{ steps.a.output }}', n: '${{ inputs.n }}', r: '${{ run.id }}'}}}
""",
        {"n": 5},
    ).go()
    run.finish("a", [1])
    assert run.values["b", None] == {"steps.a.output": [1], "inputs.n": 5, "run.id": "run"}


def test_an_input_that_is_not_there_is_left_to_the_executor_to_report() -> None:
    run = World("inputs: {n: {type: integer}}\nsteps: {b: {python: {function: 'm:f', args: {n: '${{ inputs.n }}'}}}}", {}).go()
    assert run.values["b", None] == {}


def test_the_names_of_a_scope() -> None:
    scope = Scope(World("steps: {a: {PY}}").state, {"item": 1})
    assert (list(scope), len(scope), dict(scope)) == (["item"], 1, {"item": 1})
    assert "steps.a.output" in scope
    assert "index" not in scope


def test_what_needs_a_skipped_or_failed_step_is_skipped_at_once() -> None:
    run = World("steps: {a: {set: {}, when: 'false'}, slow: {PY}, b: {PY, needs: [slow, a]}, c: {set: {}, needs: [b]}}").go()
    assert run.statuses() == {"a": "skipped", "slow": "running", "b": "skipped", "c": "skipped"}
    assert run.state.steps["b"].reason == "a was skipped"
    assert run.finish("slow").state.status == "succeeded"


def test_join_any_waits_for_all_and_wants_one_success() -> None:
    run = World("steps: {a: {set: {}, when: 'false'}, b: {PY}, c: {set: {x: 1}, needs: [a, b], join: any}}").go()
    assert run.statuses()["c"] == "pending"
    assert run.finish("b").output("c") == {"x": 1}


def test_join_any_is_skipped_without_a_success() -> None:
    run = World("steps: {a: {set: {}, when: 'false'}, b: {set: {}, when: 'false'}, c: {set: {}, needs: [a, b], join: any}, d: {set: {}, join: any}}").go()
    assert run.statuses()["c"] == "skipped"
    assert run.state.steps["c"].reason == "none of the steps it needs succeeded"
    assert run.statuses()["d"] == "succeeded", "nothing needed, nothing missed"


@pytest.mark.parametrize(
    ("condition", "status"), [("inputs.yes", "succeeded"), ("!inputs.yes", "skipped"), ("inputs.n", "failed"), ("inputs.o.gone == 1", "failed")]
)
def test_a_condition_is_true_or_false_and_nothing_else(condition: str, status: str) -> None:
    run = World(f"inputs: {{yes: {{}}, n: {{}}, o: {{}}}}\nsteps: {{a: {{set: {{}}, when: '{condition}'}}}}", {"yes": True, "n": 3, "o": {}}).go()
    assert run.statuses() == {"a": status}
    if status == "failed":
        assert run.state.error is not None
        assert (run.state.error["code"], run.state.error["step"]) == ("expression_failed", "a")


SWITCH = """
inputs: {n: {type: integer}}
steps:
  pick: {switch: [{when: inputs.n > 10, then: big}, {when: inputs.n > 5, then: middle}, {else: small}]}
  big: {set: {}}
  middle: {set: {}}
  small: {set: {}}
  after: {set: {}, needs: [big, middle, small], join: any}
"""


@pytest.mark.parametrize(("n", "taken"), [(11, "big"), (6, "middle"), (1, "small")])
def test_a_switch_takes_the_first_case_that_holds(n: int, taken: str) -> None:
    run = World(SWITCH, {"n": n}).go()
    expected = {name: "succeeded" if name == taken else "skipped" for name in ("big", "middle", "small")}
    assert run.statuses() == {"pick": "succeeded", **expected, "after": "succeeded"}
    assert run.output("pick") == taken


def test_a_switch_without_a_case_that_holds_fails() -> None:
    run = World("steps: {pick: {switch: [{when: 'false', then: a}]}, a: {set: {}}}").go()
    assert run.error("pick") == "no_case"
    assert run.state.status == "failed"


def test_a_case_that_is_no_condition_fails_the_switch() -> None:
    run = World("inputs: {n: {}}\nsteps: {pick: {switch: [{when: inputs.n, then: a}]}, a: {set: {}}}", {"n": 1}).go()
    assert run.error("pick") == "expression_failed"


TWO = """
inputs: {one: {}, two: {}}
steps:
  p: {switch: [{when: inputs.one, then: t}, {else: n}]}
  wait: {PY}
  q: {switch: [{when: inputs.two, then: t}, {else: n}], needs: [wait]}
  t: {set: {}}
  n: {set: {}}
"""


@pytest.mark.parametrize(("one", "two"), [(True, True), (True, False), (False, True), (False, False)])
def test_several_switches_may_choose_the_same_step(*, one: bool, two: bool) -> None:
    run = World(TWO, {"one": one, "two": two}).go()
    assert run.statuses()["t"] == ("succeeded" if one else "pending"), "the first that chooses it starts it"
    run.finish("wait")
    assert run.statuses()["t"] == ("succeeded" if one or two else "skipped")
    assert run.statuses()["n"] == ("succeeded" if not (one and two) else "skipped")
    assert run.state.status == "succeeded"


def test_a_chosen_step_still_waits_for_what_it_needs() -> None:
    run = World("steps: {a: {PY}, p: {switch: [{else: t}]}, t: {set: {}, needs: [a]}}").go()
    assert run.statuses()["t"] == "pending"
    assert run.finish("a").statuses()["t"] == "succeeded"


def test_a_failure_can_go_elsewhere() -> None:
    source = "steps: {a: {ONCE, on_error: {goto: plan_b}}, b: {set: {}, needs: [a]}, plan_b: {set: {why: '${{ steps.a.error.code }}'}}}"
    run = World(source).go().fail("a")
    assert run.statuses() == {"a": "failed", "b": "skipped", "plan_b": "succeeded"}
    assert run.output("plan_b") == {"why": "boom"}
    assert (run.state.status, run.state.error) == ("succeeded", None)
    run = World(source).go().finish("a", "plan_b")
    assert run.statuses() == {"a": "succeeded", "b": "succeeded", "plan_b": "skipped"}, "an output that happens to be its name chooses nothing"


def test_a_switch_that_fails_can_go_elsewhere_too() -> None:
    run = World("steps: {p: {switch: [{when: 'false', then: a}], on_error: {goto: b}}, a: {set: {}}, b: {set: {}}}").go()
    assert run.statuses() == {"p": "failed", "a": "skipped", "b": "succeeded"}


def test_a_failure_can_be_passed_over() -> None:
    run = World("steps: {a: {ONCE, on_error: continue}, b: {set: {s: '${{ steps.a.status }}', o: '${{ steps.a.output }}'}}}").go().fail("a")
    assert run.output("b") == {"s": "failed", "o": None}
    assert run.state.status == "succeeded"


def test_the_first_failure_is_the_runs() -> None:
    run = World("steps: {a: {ONCE}, b: {PY}, c: {PY, needs: [a]}}").go().fail("a")
    assert run.state.status == "failed"
    assert run.state.error == {"code": "boom", "message": "it went boom", "retryable": True, "step": "a"}
    assert run.statuses() == {"a": "failed", "b": "canceled", "c": "pending"}
    assert not run.flights, "what was in flight was stopped"
    assert run.stale, "and its results count no more"


def test_two_failures_of_one_turn() -> None:
    run = World("steps: {a: {ONCE}, b: {ONCE}}").go()
    errors = [
        Result("a", 1, error={"code": "first", "message": "", "retryable": True}),
        Result("b", 1, error={"code": "second", "message": "", "retryable": True}),
    ]
    run.go(results=errors)
    assert run.state.error is not None
    assert run.state.error["code"] == "first"


def test_unknown_and_outdated_results_are_dropped() -> None:
    run = World("steps: {a: {PY}, b: {PY, needs: [a]}}").go()
    head = run.state.head
    run.go(results=[Result("nobody", 1), Result("a", 2), Result("a", 1, iteration=0), Result("b", 1)])
    assert run.state.head == head
    run.finish("a", 1).go(results=run.stale)
    assert run.output("a") == 1
    assert run.told("a") == ["step.started", "step.succeeded"]


FINALLY = """
steps:
  a: {ONCE}
finally:
  tell: {set: {status: '${{ run.status }}', code: '${{ run.error == null ? "none" : run.error.code }}', flow: '${{ run.workflow }}'}}
  clean: {PY, needs: [tell], retry: {max_attempts: 1}}
"""


@pytest.mark.parametrize("end", ["succeeded", "failed", "canceled"])
def test_finally_runs_however_the_run_ends(end: str) -> None:
    run = World(FINALLY).go()
    if end == "succeeded":
        run.finish("a")
    elif end == "failed":
        run.fail("a")
    else:
        run.send("cancel")
    assert run.output("tell") == {"status": end, "code": "boom" if end == "failed" else "none", "flow": "tested"}
    assert run.statuses()["clean"] == "running"
    assert not run.state.ended
    assert run.finish("clean").state.status == end


def test_a_finally_that_fails_fails_a_run_that_would_have_succeeded() -> None:
    run = World(FINALLY).go().finish("a").fail("clean", "late")
    assert run.state.status == "failed"
    assert run.state.error is not None
    assert (run.state.error["code"], run.state.error["step"]) == ("late", "clean")


def test_a_finally_that_fails_hides_no_earlier_failure_and_no_cancel() -> None:
    run = World(FINALLY).go().fail("a", "first").fail("clean", "second")
    assert run.state.error is not None
    assert run.state.error["code"] == "first"
    assert World(FINALLY).go().send("cancel").fail("clean").state.status == "canceled"


def test_a_failure_in_finally_lets_the_rest_of_finally_run() -> None:
    run = World("steps: {a: {set: {}}}\nfinally: {x: {ONCE}, y: {PY}, z: {set: {}, needs: [x]}}").go().fail("x")
    assert run.statuses() == {"a": "succeeded", "x": "failed", "y": "running", "z": "skipped"}
    assert run.finish("y").state.status == "failed"


def test_outputs_that_cannot_be_computed_fail_the_run() -> None:
    run = World("steps: {a: {set: {}}}\noutputs: {x: steps.a.output.gone}").go()
    assert run.state.status == "failed"
    assert run.state.error is not None
    assert run.state.error["message"].startswith("outputs: ")


def test_without_outputs_only_what_succeeded_counts() -> None:
    run = World("steps: {a: {set: {x: 1}}, b: {set: {}, when: 'false'}}").go()
    assert run.state.output == {"a": {"x": 1}}
    assert run.events(Kind.RUN_SUCCEEDED)[0].body == {"output": {"a": {"x": 1}}}


def test_a_set_that_cannot_be_computed_fails() -> None:
    run = World("inputs: {o: {}}\nsteps: {a: {set: {x: '${{ inputs.o.gone }}'}}}", {"o": {}}).go()
    assert run.told("a") == ["step.failed"]
    assert run.error("a") == "expression_failed"
