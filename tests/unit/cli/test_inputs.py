import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.cli.exits import CommandError, Exit
from actors.cli.inputs import parse_inputs, parse_value


@pytest.mark.parametrize(
    ("text", "schema", "value"),
    [
        ("water", None, "water"),
        ("42", None, 42),
        ("42", {"type": "string"}, "42"),
        ("42", {"type": "integer"}, 42),
        ('["a", "b"]', {"type": "array"}, ["a", "b"]),
        ("true", None, True),
        ("null", {"type": "string"}, "null"),
        ("a=b", None, "a=b"),
        ("", None, ""),
    ],
)
def test_a_value_is_json_unless_it_is_text(text, schema, value):
    assert parse_inputs([f"name={text}"], {"name": schema} if schema else {}) == {"name": value}


def test_a_value_can_come_from_a_file(tmp_path):
    (tmp_path / "list.json").write_text('["one"]')
    assert parse_value(f"@{tmp_path}/list.json") == ["one"]


@pytest.mark.parametrize(
    ("pairs", "code"), [(["topic"], Exit.USAGE), (["=x"], Exit.USAGE), (["a=1", "a=2"], Exit.USAGE), (["a=@/does/not/exist"], Exit.NOT_FOUND)]
)
def test_what_cannot_be_read_is_a_usage_error(pairs, code):
    with pytest.raises(CommandError) as caught:
        parse_inputs(pairs, {})
    assert caught.value.exit_code is code


def test_a_file_that_is_not_text_is_refused(tmp_path):
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CommandError, match="not UTF-8"):
        parse_value(f"@{tmp_path}/binary")


@given(st.text().filter(lambda text: not text.startswith("@")))
def test_text_inputs_arrive_unchanged(text):
    assert parse_value(text, {"type": "string"}) == text
