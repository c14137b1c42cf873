import jsonschema_rs
import pytest

from runtime.definition.model import Step, StepKind
from runtime.definition.schema import json_schema
from runtime.definition.yaml import read

VALIDATOR = jsonschema_rs.Draft202012Validator(json_schema())

GOOD = "name: a\nsteps: {x: {agent: {prompt: hi}, map: {over: inputs.l, max_failures: 5%}, retry: {initial: 1m30s}, timeout: 2}, s: {switch: [{else: x}]}}"
BAD = {
    "no step": "name: a\nsteps: {}",
    "no kind": "name: a\nsteps: {x: {when: 'true'}}",
    "two kinds": "name: a\nsteps: {x: {set: {}, wait: {for: 1s}}}",
    "unknown field": "name: a\nsteps: {x: {agent: {prompt: hi, promt: x}}}",
    "bad case": "name: a\nsteps: {x: {switch: [{when: 'true'}]}}",
    "bad duration": "name: a\nsteps: {x: {set: {}, deadline: ''}}",
    "bad name": "name: A\nsteps: {x: {set: {}}}",
    "bad id": "name: a\nsteps: {x-y: {set: {}}}",
    "null kind": "name: a\nsteps: {x: {set: {}, http: null}}",
}


def test_it_is_a_schema_of_2020_12_and_takes_what_is_right():
    jsonschema_rs.meta.validate(json_schema())
    assert json_schema()["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert list(VALIDATOR.iter_errors(read(GOOD)[0])) == []


@pytest.mark.parametrize("case", BAD)
def test_it_refuses(case):
    assert not VALIDATOR.is_valid(read(BAD[case])[0])


def test_every_field_of_a_step_is_described_and_every_kind_is_one_of():
    step = json_schema()["$defs"]["Step"]
    assert set(step["properties"]) == {field.alias or name for name, field in Step.model_fields.items()}
    assert [kind["required"] for kind in step["oneOf"]] == [[kind.value] for kind in StepKind]
    assert step["properties"]["when"]["x-agentic"] == "expression"
    assert json_schema()["$defs"]["Agent"]["properties"]["prompt"]["x-agentic"] == "template"
