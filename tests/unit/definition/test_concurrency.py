"""Limits of concurrency as a definition says them, and as a run takes them along."""

import json

import jsonschema_rs
import pytest

from runtime.definition.builder import Flow
from runtime.definition.concurrency import slot_columns
from runtime.definition.model import Concurrency
from runtime.definition.plan import plan_for
from runtime.definition.schema import json_schema
from runtime.definition.validation import parse
from runtime.definition.yaml import read
from runtime.errors import DefinitionInvalid, InputInvalid

HEAD = "name: a\ninputs: {c: {type: string}, l: {type: array}, any: {}}\nsteps: {x: {wait: {for: 1s}}}\nconcurrency: "
VALIDATOR = jsonschema_rs.Draft202012Validator(json_schema())

GOOD = ["{limit: 2}", "{key: inputs.c, per_key: 1}", "{limit: 5, key: 'inputs.c + string(size(inputs.l))', per_key: 2, on_limit: cancel_old}"]
BAD = {
    "{}": [("/concurrency", "write limit, per_key or both: without them there is no limit")],
    "{key: inputs.c}": [("/concurrency", "write limit, per_key or both: without them there is no limit")],
    "{per_key: 2}": [("/concurrency/per_key", "per_key needs key, the expression that says which runs belong together")],
    "{limit: 0}": [("/concurrency/limit", "must be greater than or equal to 1")],
    "{limit: 100001}": [("/concurrency/limit", "must be less than or equal to 100000")],
    "{limt: 2}": [
        ("/concurrency", "write limit, per_key or both: without them there is no limit"),
        ("/concurrency/limt", "there is no field 'limt' here; did you mean 'limit'?"),
    ],
    "{limit: 1, on_limit: wait}": [("/concurrency/on_limit", "write 'queue', 'reject', 'cancel_old' or 'cancel_new'")],
    "3": [("/concurrency", "must be an object (fields with values)")],
}
BAD_KEYS = {
    "inputs.l": "a key is text, a number, or true or false, but this is a list",
    "inputs.d": "there is no input 'd'",
    "run.id": "there is no run here yet; only inputs can be read",
    "steps.x.output": "there is no step 'x' to refer to here",
    "'${{ inputs.c }}'": "write the expression alone here, without ${{ }}",
}


@pytest.mark.parametrize("text", GOOD)
def test_what_is_right_is_taken(text: str):
    assert parse(HEAD + text).document["concurrency"] == read(text)[0]
    assert VALIDATOR.is_valid(read(HEAD + text)[0])


@pytest.mark.parametrize("text", BAD)
def test_what_is_wrong_is_told_all_at_once(text: str):
    with pytest.raises(DefinitionInvalid) as failure:
        parse(HEAD + text)
    assert [(problem.pointer, problem.detail) for problem in failure.value.problems] == BAD[text]
    assert all(problem.line == 4 for problem in failure.value.problems)
    assert not VALIDATOR.is_valid(read(HEAD + text)[0])


@pytest.mark.parametrize("key", BAD_KEYS)
def test_a_key_is_an_expression_over_the_inputs(key: str):
    with pytest.raises(DefinitionInvalid) as failure:
        parse(f"{HEAD}{{limit: 1, key: {key}}}")
    assert [(problem.pointer, problem.detail) for problem in failure.value.problems] == [("/concurrency/key", BAD_KEYS[key])]


def test_the_builder_says_it_too():
    flow = Flow("a", concurrency=Concurrency(limit=3, key="inputs.c"))
    flow.input("c", {"type": "string"})
    flow.wait("x", duration="1s")
    assert flow.build().document["concurrency"] == {"limit": 3, "key": "inputs.c"}


def columns(limits: str, tenant: str = "t", **inputs: object) -> dict:
    loaded = parse(HEAD + limits)
    return slot_columns(plan_for(loaded.document, loaded.hash), tenant, {"c": "x", "l": [], "any": None, **inputs})


def test_a_run_takes_its_limits_along():
    found = columns("{limit: 5, key: inputs.any, per_key: 2, on_limit: reject}", any="bees")
    assert found == {"slot_group": '["a", "t"]', "slot_key": '"bees"', "slot_limit": 5, "slot_per_key": 2, "slot_on_limit": "reject", "slot_held": False}


def test_a_workflow_without_limits_adds_nothing():
    loaded = parse("name: a\nsteps: {x: {wait: {for: 1s}}}")
    assert slot_columns(plan_for(loaded.document, loaded.hash), "t", {}) == {}


def test_without_a_limit_of_the_workflow_each_key_is_a_group_of_its_own():
    one, other = (columns("{key: inputs.any, per_key: 2}", any=value)["slot_group"] for value in ("a", "b"))
    assert one != other
    assert columns("{limit: 1}", "t1")["slot_group"] != columns("{limit: 1}", "t2")["slot_group"]


@pytest.mark.parametrize(("value", "key"), [("1", '"1"'), (1, "1"), (1.0, "1"), (1.5, "1.5"), (True, "true"), ("ü", '"ü"'), ("", '""')])
def test_keys_keep_their_type(value: object, key: str):
    assert columns("{limit: 1, key: inputs.any}", any=value)["slot_key"] == key
    assert json.loads(key) == value


@pytest.mark.parametrize("value", [None, [1], {"a": 1}, "x" * 199])
def test_what_is_no_key_is_refused_when_the_run_is_started(value: object):
    with pytest.raises(InputInvalid, match="the concurrency key of workflow 'a'"):
        columns("{limit: 1, key: inputs.any}", any=value)


def test_a_key_that_cannot_be_computed_is_refused_too():
    with pytest.raises(InputInvalid, match="cannot be evaluated"):
        columns("{limit: 1, key: inputs.any.name}", any={})
