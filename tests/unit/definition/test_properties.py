import json

import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from runtime.definition.expressions import compile_expression
from runtime.definition.templates import compile_text
from runtime.definition.validation import parse
from runtime.definition.yaml import read
from runtime.errors import AgenticError, DefinitionInvalid

texts = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=20)
numbers = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(texts, inner, max_size=5),
    max_leaves=20,
)


@given(values)
def test_json_round_trip(value):
    for text in (json.dumps(value), json.dumps(value, indent=1, ensure_ascii=False)):
        assert read("\n" + text + "\n")[0] == value if isinstance(value, dict | list) else True


@given(st.dictionaries(texts, values, min_size=1, max_size=5))
def test_yaml_round_trip(value):
    """Quoted strings, so that PyYAML's own idea of what is a number (YAML 1.1) does not matter."""
    text = yaml.safe_dump(value, default_style='"', allow_unicode=True) if not _has_scalars(value) else json.dumps(value)
    assert read(text)[0] == value


def _has_scalars(value):
    """Whether something in it is no text: `default_style` writes those with a tag, which we refuse."""
    if isinstance(value, dict):
        return any(map(_has_scalars, value.values()))
    return any(map(_has_scalars, value)) if isinstance(value, list) else not isinstance(value, str)


WORDS = """name steps inputs outputs finally agent http python code set switch wait map over loop until when needs retry prompt url function args then
else on_error goto a b"""
words = st.sampled_from(WORDS.split())
pieces = st.sampled_from(["inputs.a", "steps.a.output", "${{", "}}", "${{ item }}", "1 +", "'", "a:b", "30s", "true", "\ud800", "\0", "x" * 100])
documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | pieces | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words | texts, inner, max_size=4),
    max_leaves=30,
)
steps = st.dictionaries(words, st.dictionaries(words, documents, max_size=3), min_size=1, max_size=4)
almost = st.fixed_dictionaries({"name": st.just("a"), "steps": steps}, optional={"inputs": documents, "outputs": documents, "finally": steps})


def attempt(function, *arguments):
    """(result, None) or (None, the error the product raised on purpose)."""
    try:
        return function(*arguments), None
    except AgenticError as error:
        return None, error


@settings(max_examples=300, deadline=None)
@given(almost | documents.filter(lambda document: isinstance(document, dict)))
@example({"name": "a", "steps": {"a": {"set": {"a": {1: 2}}}}})
@example({"name": "a", "steps": {"a": None}, "finally": [], "inputs": {"a": True}, "outputs": {"a": None}})
@example({"name": "a", "steps": {"a": {"switch": {"0": 1}, "on_error": [1]}}})
def test_parsing_a_value_raises_nothing_else(document):
    loaded, error = attempt(parse, document)
    if error is None:
        assert parse(loaded.document).hash == loaded.hash
    else:
        assert isinstance(error, DefinitionInvalid)
        assert error.problems
        assert all(problem.detail and len(problem.detail) < 2500 for problem in error.problems)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200) | st.text(max_size=200) | st.text("{}[]:,-|>&*!#'\"\\ \nab1", max_size=60))
def test_parsing_text_raises_nothing_else(source):
    _loaded, error = attempt(parse, source)
    assert isinstance(error, DefinitionInvalid)
    assert error.problems


TOKENS = "inputs.a steps.a.output item . [ ] ( ) { } ' \" + == && ? : 1 1.5 map(x, has( size( x ${{ }} $${{"


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=60) | st.lists(st.sampled_from(TOKENS.split()), max_size=12).map(" ".join))
def test_expressions_and_templates_raise_nothing_else(source):
    scope = {"inputs.a": 1, "inputs": {"a": 1}, "steps.a.output": [1, {"x": None}], "item": "t", "index": 0}
    for evaluate in (lambda: compile_expression(source).evaluate(scope), lambda: compile_text(source).render(scope)):
        result, error = attempt(evaluate)
        assert str(error)
        json.dumps(result, allow_nan=False)
