import pytest

from actors.cli.forms import blank_form
from runtime.definition.inputs import check_value


@pytest.mark.parametrize(
    ("schema", "form"),
    [
        (None, None),
        ({"type": "object", "properties": {"remark": {"type": "string"}}}, {}),
        ({"type": "object", "properties": {"stars": {"type": "integer", "default": 3}}, "required": ["stars"]}, {"stars": 3}),
        (
            {"type": "object", "properties": {"who": {"type": "object", "properties": {"team": {"default": "blue"}}}}, "required": ["who"]},
            {"who": {"team": "blue"}},
        ),
        ({"type": "boolean", "default": True}, True),
    ],
)
def test_the_defaults_of_a_form(schema, form):
    assert blank_form(schema) == form
    assert schema is None or check_value(schema, form) == []


def test_a_form_that_asks_for_more_is_left_to_the_person():
    schema = {"type": "object", "properties": {"stars": {"type": "integer"}}, "required": ["stars"]}
    assert check_value(schema, blank_form(schema)) != []
