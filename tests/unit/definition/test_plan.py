import pytest

from runtime.definition.plan import compile_plan, plan_for
from runtime.definition.validation import parse
from runtime.errors import DefinitionInvalid

DOCUMENT = """
name: shape
inputs: {topic: {}, sources: {}}
defaults: {retry: {max_attempts: 7}, timeout: 10s, on_crash: ask}
steps:
  last: {set: {a: "${{ steps.rank.output }}"}, needs: [brief]}
  notes: {agent: {prompt: "${{ item }} of ${{ inputs.topic }} ${{ index }}"}, map: {over: inputs.sources}, when: has(inputs.topic)}
  rank:
    python: {function: "a:b", args: {notes: "${{ steps.notes.output }}", p: "${{ previous }}"}}
    loop: {until: "output > 3 && steps.other.output == 1"}
    retry: {max_attempts: 2}
    timeout: 1s
    on_crash: retry
  choose: {switch: [{when: "size(steps.rank.output) > 1", then: brief}, {else: widen}]}
  brief: {wait: {for: 30s}, on_error: {goto: rescue}}
  widen: {workflow: {name: other, inputs: {q: "${{ inputs.topic }}"}}}
  rescue: {set: {why: "${{ steps.brief.error }}", picked: "${{ steps.choose.output }}"}}
  other: {approval: {message: "Go on with ${{ inputs.topic }}?"}, on_error: continue}
finally:
  after: {set: {a: "${{ steps.tell.output }}"}}
  tell: {http: {url: "https://example.org/${{ run.status }}", body: {all: "${{ steps.last.output }}"}}}
outputs: {brief: steps.last.output.a, n: "size(steps.notes.output)"}
"""


@pytest.fixture(scope="module")
def plan():
    return parse(DOCUMENT).plan


def test_needs_are_what_is_named_and_what_is_read(plan):
    assert {name: set(step.needs) for name, step in plan.steps.items()} == {
        "last": {"brief", "rank"},
        "notes": set(),
        "rank": {"notes", "other"},
        "choose": {"rank"},
        "brief": set(),
        "widen": set(),
        "rescue": {"choose"},
        "other": set(),
        "after": {"tell"},
        "tell": set(),
    }


def test_routers_are_switches_and_failing_steps(plan):
    assert {name: step.routers for name, step in plan.steps.items() if step.routers} == {"brief": ("choose",), "widen": ("choose",), "rescue": ("brief",)}
    assert plan.goto_targets == {"rescue"}


def test_dependents_are_the_other_side_of_needs_and_routers(plan):
    for name, step in plan.steps.items():
        for other in plan.steps.values():
            assert (name in (*other.needs, *other.routers)) == (other.id in step.dependents)


def test_orders_are_topological_and_sections_apart(plan):
    for section in (plan.main, plan.final):
        place = {name: at for at, name in enumerate(section)}
        for name in section:
            assert all(place[other] < place[name] for other in (*plan.steps[name].needs, *plan.steps[name].routers) if other in place)
    assert set(plan.main) == set(plan.definition.steps)
    assert plan.final == ("tell", "after")
    assert set(plan.sinks) == {"last", "widen", "rescue"}


def test_expressions_and_values_are_compiled(plan):
    notes, rank, choose, brief, rescue = (plan.steps[name] for name in ("notes", "rank", "choose", "brief", "rescue"))
    assert notes.over.elements({"inputs.sources": [1]}) == [1]
    assert notes.when.holds({"inputs.topic": None}) is False
    assert rank.until.holds({"output": 4, "steps.other.output": 1}) is True
    assert [(condition and condition.source, target) for condition, target in choose.cases] == [("size(steps.rank.output) > 1", "brief"), (None, "widen")]
    assert choose.values is None
    assert brief.values.render({}) == {"for": "30s"}
    assert plan.steps["widen"].values.render({"inputs.topic": "x"}) == {"q": "x"}
    assert plan.steps["other"].values.render({"inputs.topic": "x"}) == {"message": "Go on with x?", "show": None}
    assert rescue.values.render({"steps.brief.error": {"code": "c"}, "steps.choose.output": "brief"}) == {"why": {"code": "c"}, "picked": "brief"}
    assert plan.outputs["brief"].evaluate({"steps.last.output": {"a": 1}}) == 1


def test_remote_steps_say_which_names_their_executor_needs(plan):
    assert {name: step.scope_names for name, step in plan.steps.items() if step.remote} == {
        "notes": {"inputs.topic"},
        "rank": {"steps.notes.output", "previous"},
        "tell": {"run.status", "steps.last.output"},
    }
    assert plan.steps["rank"].spec["python"] == {"function": "a:b", "args": {"notes": "${{ steps.notes.output }}", "p": "${{ previous }}"}}


def test_options_come_from_the_step_then_the_defaults_then_the_product(plan):
    assert (plan.steps["rank"].retry.max_attempts, plan.steps["rank"].timeout, plan.steps["rank"].on_crash) == (2, 1000, "retry")
    assert (plan.steps["notes"].retry.max_attempts, plan.steps["notes"].timeout, plan.steps["notes"].on_crash) == (7, 10_000, "ask")
    bare = parse("name: a\nsteps: {x: {python: {function: 'a:b'}}}").plan.steps["x"]
    assert (bare.retry.max_attempts, bare.timeout, bare.on_crash) == (3, None, "retry")


def test_the_order_of_free_steps_is_that_of_the_document():
    steps = {name: {"set": {"a": 1}} for name in ("z", "b", "y", "a")}
    steps["b"]["needs"] = ["a"]
    assert parse({"name": "a", "steps": steps}).plan.main == ("z", "y", "a", "b")


def test_plans_are_cached_by_hash():
    loaded = parse(DOCUMENT)
    assert plan_for(loaded.document, loaded.hash) is plan_for({"never": "read"}, loaded.hash)


def test_a_document_that_was_never_checked_cannot_be_planned():
    with pytest.raises(DefinitionInvalid, match="the stored definition is not valid"):
        plan_for({"name": "a"}, "nobody's hash")
    circle = parse("name: a\nsteps: {x: {set: {a: 1}}, y: {set: {a: 1}, needs: [x]}}").definition
    steps = {"x": circle.steps["x"].model_copy(update={"needs": ["y"]}), "y": circle.steps["y"]}
    with pytest.raises(DefinitionInvalid, match="in a circle"):
        compile_plan(circle.model_copy(update={"steps": steps}), "h")
