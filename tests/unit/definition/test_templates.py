import pytest

from runtime.definition.templates import Constant, TemplateInvalid, compile_text, compile_value
from runtime.errors import ExpressionFailed

SCOPE = {"inputs.x": [1, "é"], "inputs.name": "Ada", "item": {"n": 1.0, "o": None}, "index": 0}

RENDERED = [
    ("plain", "plain"),
    ("", ""),
    ("${{ inputs.x }}", [1, "é"]),
    ("${{inputs.name}}", "Ada"),
    (" ${{ inputs.x }}", ' [1,"é"]'),
    ("Hello ${{ inputs.name }}, ${{ index }} ${{ item.o }} ${{ true }}", "Hello Ada, 0 null true"),
    ("${{ item }}${{ item }}", '{"n":1.0,"o":null}{"n":1.0,"o":null}'),
    ("${{ {'a': {'b': '}}'}} }}", {"a": {"b": "}}"}}),
    ("${{ '}}' + \"}}\" + '''}}''' + r'\\d' }}", "}}}}}}\\d"),
    ("$${{ inputs.name }}", "${{ inputs.name }}"),
    ("a $${{ b ${{ index }}", "a ${{ b 0"),
    ("$ { { ${ {{ }} $$", "$ { { ${ {{ }} $$"),
    ("{{ inputs.name }} ${inputs.name} {% x %} __class__ %s {0}", "{{ inputs.name }} ${inputs.name} {% x %} __class__ %s {0}"),
]


@pytest.mark.parametrize(("text", "expected"), RENDERED, ids=[text for text, _ in RENDERED])
def test_text(text, expected):
    assert compile_text(text).render(SCOPE) == expected


def test_values_are_rendered_at_every_depth_but_keys_are_not():
    template = compile_value({"a": ["${{ inputs.x }}", {"${{ index }}": "n=${{ index }}"}], "b": 3, "c": None})
    assert template.render(SCOPE) == {"a": [[1, "é"], {"${{ index }}": "n=0"}], "b": 3, "c": None}
    assert template.names == {"inputs.x", "index"}


def test_constants_cost_nothing():
    value = {"a": [1, "text", {"b": None}]}
    template = compile_value(value)
    assert isinstance(template, Constant)
    assert template.render({}) is template.render({})
    assert template.render({}) == value
    assert compile_value({"a": ["$${{ x }}"]}).render({}) == {"a": ["${{ x }}"]}


def test_every_problem_of_a_value_is_reported_with_its_pointer():
    with pytest.raises(TemplateInvalid) as caught:
        compile_value({"a/b": ["ok", "x\n ${{ 1 + }}"], "c": "${{ nope }} ${{ inputs. }}", "d": "${{ open"})
    assert [(problem.pointer, problem.line, problem.column) for problem in caught.value.problems] == [
        ("/a~1b/1", 2, 10),
        ("/c", 1, 5),
        ("/c", 1, 25),
        ("/d", 1, 1),
    ]
    assert caught.value.problems[-1].detail == "this ${{ has no }} that ends it; write $${{ for the characters themselves"


def test_what_fails_inside_a_text_fails_the_text():
    with pytest.raises(ExpressionFailed, match="item has no field 'zz'"):
        compile_text("a ${{ item.zz }}").render(SCOPE)


def test_a_rendered_text_is_bounded():
    with pytest.raises(ExpressionFailed, match="more than 10485760"):
        compile_text("${{ item }}${{ item }}").render({"item": "x" * (6 * 2**20)})
