"""Values kept in the artifact store: brought in wherever the engine needs them, and nowhere else. A crash turns every large value into a reference."""

from typing import Any

import pytest

from runtime.references import reference
from tests.unit.engine.driver import World

BIG = ["x" * 50, "y" * 50]


def spilled(source: str, inputs: Any = None) -> World:
    """Outputs over 40 characters are journalled by reference; step `a` comes first and gives BIG, then the owner dies."""
    run = World(source, inputs, store_over=40).go()
    run.finish("a", BIG)
    return run


@pytest.mark.parametrize(
    ("step", "output"),
    [
        ("set: {n: '${{ size(steps.a.output) }}'}", {"n": 2}),
        ("set: {n: '${{ steps.a.output[1] }}'}", {"n": BIG[1]}),
        ("set: {n: 1}, when: 'size(steps.a.output) == 2'", {"n": 1}),
        ("set: {n: '${{ item }}'}, map: {over: steps.a.output}", [{"n": BIG[0]}, {"n": BIG[1]}]),
        ("set: {n: '${{ steps.a.output[index] }}'}, map: {over: '[1, 2]'}, needs: [a]", [{"n": BIG[0]}, {"n": BIG[1]}]),
        ("set: {n: '${{ iteration }}'}, loop: {until: 'size(steps.a.output) == 2'}", {"n": 0}),
        ("set: {n: '${{ previous == null ? steps.a.output : previous.n + previous.n }}'}, loop: {until: size(output.n) > 4}", {"n": BIG * 4}),
        ("switch: [{when: 'size(steps.a.output) == 2', then: c}]", "c"),
        ("wait: {for: '${{ size(steps.a.output) }}'}", None),
        ("approval: {message: '${{ steps.a.output[0] }}'}", None),
    ],
)
def test_an_expression_gets_the_value_itself(step: str, output: Any) -> None:
    source = f"steps: {{a: {{PY}}, gate: {{PY}}, b: {{{step}, needs: [a, gate]}}, c: {{set: {{}}}}}}".replace(", needs: [a], needs", ", needs")
    run = spilled(source).crash().go()
    assert run.state.steps["a"].output != BIG, "the journal holds a reference"
    run.finish("gate")
    assert run.loaded
    assert run.statuses()["b"] in ("succeeded", "waiting")
    if output is not None:
        assert run.whole(run.output("b")) == output


def test_the_inputs_of_a_child() -> None:
    run = spilled("steps: {a: {PY}, gate: {PY}, k: {workflow: {name: other, inputs: {v: '${{ steps.a.output }}'}}, needs: [gate]}}").crash().go().finish("gate")
    assert next(iter(run.children.values())).inputs == {"v": BIG}


def test_an_executor_gets_references_and_loads_them_itself() -> None:
    source = "steps: {a: {PY}, gate: {PY}, b: {python: {function: 'm:f', args: {v: '${{ steps.a.output }}'}}, needs: [gate]}}"
    run = spilled(source).crash().go().finish("gate")
    assert run.values["b", None] == {"steps.a.output": run.store(BIG)}
    assert run.loaded == []


def test_the_outputs_of_the_run() -> None:
    for outputs in ("outputs: {v: steps.a.output}", ""):
        run = spilled(f"steps: {{a: {{PY}}, b: {{PY}}}}\n{outputs}").crash().go().finish("b", 1)
        assert run.state.output == ({"v": BIG} if outputs else {"a": BIG, "b": 1})


def test_inputs_that_are_stored_as_a_whole() -> None:
    source = "inputs: {l: {}}\nsteps: {a: {PY, map: {over: inputs.l}}, b: {python: {function: 'm:f', args: {v: '${{ inputs.l }}', all: '${{ inputs }}'}}}}"
    run = World(source, {"l": BIG}, store_over=40).go()
    assert run.values["a", 1] == BIG[1]
    assert run.values["b", None] == {"inputs": {"l": BIG}, "inputs.l": BIG}


def test_the_output_of_an_iteration() -> None:
    source = """
steps:
  a: {python: {function: 'm:f', args: {p: '${{ previous }}'}}, loop: {until: 'size(output) > 2', delay: 1m}}
  b: {set: {n: '${{ size(steps.a.output) }}'}}
"""
    run = spilled(source).crash().go()
    run.wake()
    assert run.values["a", None] == {"previous": run.store(BIG)}, "to an executor by reference"
    run.finish("a", [*BIG, "z"])
    assert run.output("b") == {"n": 3}


def test_until_after_a_crash_between_the_result_and_the_look_at_it() -> None:
    source = "steps: {a: {PY, loop: {until: 'size(output) == 2'}}}"
    run = World(source, store_over=40).go()
    flight = run.flights[("a", None)]
    run.checked = False
    run.go(results=[type(flight)("a", 1, 0, output=BIG)], hold=True)
    assert run.crash().go().state.status == "succeeded"


def test_all_large_items_of_a_map_are_asked_for_at_once() -> None:
    source = """
steps:
  m: {PY, map: {over: '[1, 2, 3]'}}
  gate: {PY}
  n: {set: {s: '${{ size(steps.m.output) }}', one: '${{ steps.m.output[1] }}'}, needs: [gate]}
"""
    run = World(source, store_over=40).go()
    for index, value in enumerate(["a" * 50, "small", "b" * 50]):
        run.finish("m", value, index=index)
    turns = run.crash().go().turns
    run.finish("gate")
    assert run.output("n") == {"s": 3, "one": "small"}
    assert len(run.loaded) == 2
    assert run.turns == turns + 1


def test_a_map_over_large_items_and_their_executor() -> None:
    source = """
steps:
  m: {PY, map: {over: '[1, 2]'}}
  gate: {PY}
  n: {python: {function: 'm:f', args: {v: '${{ steps.m.output }}'}}, needs: [gate]}
  o: {PY, map: {over: steps.m.output}, needs: [gate]}
"""
    run = World(source, store_over=40).go().finish("m", BIG[0], index=0).finish("m", "s", index=1).crash().go().finish("gate")
    assert run.values["n", None] == {"steps.m.output": [run.store(BIG[0]), "s"]}
    assert (run.values["o", 0], run.values["o", 1]) == (BIG[0], "s")


def test_a_retry_of_items_whose_list_has_to_be_brought_in_again() -> None:
    source = "steps: {a: {PY}, m: {PY, map: {over: steps.a.output}, retry: {initial: 1m, jitter: 0}}}"
    run = spilled(source).fail("m", index=0).finish("m", "second", index=1).crash().go()
    run.wake()
    assert run.values["m", 0] == BIG[0]
    assert run.finish("m", "first", index=0).output("m") == ["first", "second"]


def test_lost_work_waits_for_the_values_it_needs() -> None:
    """The claim that finds work lost may first have to bring in what that work is about; it must not be forgotten meanwhile."""
    source = "inputs: {l: {}}\nsteps: {a: {PY, map: {over: inputs.l}}, b: {python: {function: 'm:f', args: {v: '${{ inputs.l }}'}}}}"
    run = World(source, {"l": BIG}, store_over=40).go().crash().go()
    assert {key: flight.attempt for key, flight in run.flights.items()} == {("a", 0): 2, ("a", 1): 2, ("b", None): 2}
    assert len(run.loaded) == 3, "once by the first owner, and once for each lost step by the second"
    assert run.play().state.status == "succeeded"


def test_a_large_signal() -> None:
    run = World("steps: {s: {signal: {name: go}}, w: {wait: {for: 1m}}, n: {set: {n: '${{ size(steps.s.output) }}'}, needs: [w]}}", store_over=40).go()
    run.send("signal", name="go", payload=BIG).crash().wake()
    assert run.output("n") == {"n": 2}


def test_json_that_looks_like_a_reference_is_just_json() -> None:
    forged = reference("f" * 64, 3)
    source = """
inputs: {x: {}, l: {}}
steps:
  a: {set: {v: '${{ inputs.x }}'}}
  m: {set: {i: '${{ item }}'}, map: {over: inputs.l}}
outputs: {v: steps.a.output.v, m: steps.m.output}
"""
    run = World(source, {"x": forged, "l": [forged]}).go()
    assert run.state.output == {"v": forged, "m": [{"i": forged}]}
