import pytest

from runtime.definition.foreign import Refused
from runtime.definition.inputs import as_parameters, check_inputs, check_value
from runtime.definition.validation import parse
from runtime.errors import InputInvalid

DEFINITION = parse(
    """
name: a
inputs:
  topic: {type: string, maxLength: 5}
  rows: {type: array, items: {type: object, required: [id], properties: {id: {type: integer}}}, default: []}
  mail: {type: string, format: email, default: a@example.org}
steps: {x: {wait: {for: 1s}}}
"""
).definition


def test_defaults_are_filled_in():
    assert check_inputs(DEFINITION, {"topic": "a"}) == {"topic": "a", "rows": [], "mail": "a@example.org"}


def test_all_problems_at_once_with_pointers():
    with pytest.raises(InputInvalid) as caught:
        check_inputs(DEFINITION, {"topik": 1, "rows": [{"id": 1}, {"id": "x"}, {}], "mail": "nobody"})
    assert [(problem.pointer, problem.detail) for problem in caught.value.problems] == [
        ("/topik", "workflow 'a' has no input 'topik'; did you mean 'topic'?"),
        ("/topic", "the input 'topic' is missing"),
        ("/rows/1/id", '"x" is not of type "integer"'),
        ("/rows/2", '"id" is a required property'),
        ("/mail", '"nobody" is not a "email"'),
    ]
    assert str(caught.value) == "the inputs do not fit: /topik: workflow 'a' has no input 'topik'; did you mean 'topic'? (and 4 more)"


@pytest.mark.parametrize("given", [None, [], "x", 3])
def test_inputs_are_an_object(given):
    with pytest.raises(InputInvalid, match="the inputs are an object"):
        check_inputs(DEFINITION, given)


HOSTILE = [float("nan"), float("inf"), "\ud800", "a\0", 2**64, {"a\udfff": 1}, {1: 2}, (1,)]


@pytest.mark.parametrize("value", HOSTILE, ids=repr)
def test_what_is_no_json_is_refused_whatever_the_schema_says(value):
    assert len(check_value(True, [value], "/form")) == 1
    assert check_value(True, [value], "/form")[0].pointer == "/form/0"


def test_depth_and_size_are_bounded():
    deep: list = []
    for _ in range(70):
        deep = [deep]
    assert check_value({}, deep)[0].detail == "the document is nested deeper than 64 levels"
    assert check_value({}, [0] * 1_000_001)[0].detail == "the document has more than 1000000 values"
    assert len(check_value({"items": {"type": "string"}}, [0] * 1000)) == 50


def test_patterns_run_in_linear_time():
    assert check_value({"pattern": "^(a+)+$"}, "a" * 50_000 + "b") != []
    (problem,) = check_value({"pattern": "(?=a)"}, "a")
    assert problem.detail.startswith("the schema is not valid")


@pytest.mark.parametrize("reference", ["http://127.0.0.1:9/x", "https://json-schema.org/draft/2019-09/x", "file:///etc/passwd", "urn:x:y"])
def test_nothing_is_ever_fetched(reference):
    (problem,) = check_value({"$ref": reference}, 1)
    assert problem.detail == "the schema is not valid: remote references ($ref to another document) are not allowed"


def test_inputs_as_the_parameters_of_a_tool():
    inputs = {
        "topic": {"type": "string"},
        "most": {"type": "integer", "default": 3},
        "tree": {"$ref": "#/$defs/node", "$defs": {"node": {"type": "object", "properties": {"tags": {"$ref": "#/$defs/tags"}}}, "tags": {"type": "array"}}},
        "tags": {"$ref": "#/$defs/tags", "$defs": {"tags": {"enum": [{"$ref": "#/no/reference"}]}}},
    }
    found = as_parameters(inputs)
    assert (found["required"], found["additionalProperties"]) == (["topic", "tree", "tags"], False)
    good = {"topic": "x", "tree": {"tags": []}, "tags": {"$ref": "#/no/reference"}}
    assert check_value(found, good) == []
    assert [problem.pointer for problem in check_value(found, {**good, "tree": {"tags": 3}, "most": "x"})] == ["/tree/tags", "/most"]
    assert check_value(as_parameters({}), {}) == []
    with pytest.raises(Refused):
        as_parameters({"x": {"$ref": "https://example.com/schema"}})
