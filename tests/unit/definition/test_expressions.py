import os
import subprocess
import sys
from collections.abc import Iterator, Mapping

import pytest

from runtime.definition.expressions import ExpressionInvalid, compile_expression
from runtime.definition.names import Names
from runtime.errors import ExpressionFailed

SCOPE = {
    "inputs.topic": "hi",
    "inputs.n": 3,
    "inputs.price": 1.5,
    "inputs.rows": [{"id": 1, "tags": ["a"]}, {"id": 2, "tags": []}],
    "inputs": {"topic": "hi", "n": 3},
    "steps.a.output": {"x": 1, "l": [1, 2, 3], "o": {"b": 1, "a": 2}, "with space": 7, "null": None},
    "steps.a.status": "succeeded",
    "steps.skipped.output": None,
    "item": {"t": "u"},
    "index": 4,
    "run.error": None,
}

RESULTS = [
    ("inputs.topic", "hi"),
    (" steps.a.output.l[1] ", 2),
    ("steps.a.output['with space']", 7),
    ("has(inputs.topic)", True),
    ("has(steps.skipped.output)", False),
    ("has(run.error) || index == 4", True),
    ("has(steps.a.output) && has(steps.a.output.x) && !has(steps.a.output.y)", True),
    ("has(steps.a.output.x) ? steps.a.output.x : 0", 1),
    ("size(steps.a.output.l) >= 3 && steps.a.status == 'succeeded'", True),
    ("inputs.n * inputs.price", 4.5),
    ("inputs.price - inputs.n", -1.5),
    ("inputs.n / 2", 1),
    ("inputs.n / 2.0", 1.5),
    ("inputs.n + 1", 4),
    ("inputs.n > 2.5", True),
    ("inputs.rows.filter(row, size(row.tags) > 0).map(row, row.id)", [1]),
    ("inputs.rows.map(row, {'id': row.id, 'topic': inputs.topic})", [{"id": 1, "topic": "hi"}, {"id": 2, "topic": "hi"}]),
    ("inputs.rows.exists(row, row.id == 2)", True),
    ("[1, 2].map(inputs, inputs + 1)", [2, 3]),
    ("keys(steps.a.output.o)", ["a", "b"]),
    ("keys(steps.a.output.o).map(key, steps.a.output.o[key])", [2, 1]),
    ("{'b': 1, 'a': [true, null, 2.0]}", {"a": [True, None, 2.0], "b": 1}),
    ("inputs", {"topic": "hi", "n": 3}),
    ("inputs['topic'] + inputs.topic", "hihi"),
    ("size(inputs)", 2),
    ("steps.a.output.?nope.orValue('d')", "d"),
    ("'a,b'.split(',').map(part, part.upperAscii()).join('-')", "A-B"),
    ("' Xy '.trim().lowerAscii().replace('x', 'zz').substring(1)", "zy"),
    ("'abc'.indexOf('c') + math.greatest(1, 2)", 4),
    ("string(inputs.n) + '!'", "3!"),
    ("type(inputs.n) == int", True),
    ("inputs.topic.matches('^h.$')", True),
    ("timestamp('2027-01-31T09:00:00Z') + duration('1h')", "2027-01-31T10:00:00Z"),
    ("duration('1500ms')", "1.5s"),
    ("base64.encode(b'a')", "YQ=="),
]


@pytest.mark.parametrize(("source", "expected"), RESULTS, ids=[source for source, _ in RESULTS])
def test_result(source, expected):
    result = compile_expression(source).evaluate(SCOPE)
    assert result == expected
    assert type(result) is type(expected)


FAILURES = [
    ("steps.a.output.nope", "steps.a.output has no field 'nope'; test with has(steps.a.output.nope) first"),
    ("steps.a.output.l[3]", "steps.a.output.l has 3 elements, so there is no [3]"),
    ("steps.skipped.output.x", "steps.skipped.output is null, so it has no field 'x'"),
    ("inputs.topic.x", "inputs.topic is a text, so it has no field 'x'"),
    ("steps.gone.output", "'steps.gone.output' has no value here"),
    ("steps.gone.output + 1", "'steps.gone.output' has no value here"),
    ("steps.a.output.nope + 1", "there is no field 'nope'; test with has(…) first"),
    ("inputs.topic + 1", "'+' does not take text and a whole number"),
    ("item + 1", "'+' does not take an object and a whole number"),
    ("inputs.n ? 1 : 2", "the condition before '?' is neither true nor false"),
    ("steps.a.output.o.map(key, key)", "map, filter, exists and all go over a list; for an object go over keys(…), which are sorted"),
    ("inputs.n.exists(x, true)", "'+' does not take a whole number and a list"),
    ("keys(inputs.rows)", "'keys' does not take a list"),
    ("1 / 0", "divide by zero"),
    ("inputs.n / 0.0", "division by zero"),
    ("1.0 / 0.0", "the result is not a finite number"),
    ("9223372036854775807 + inputs.n", "integer overflow"),
    ("b'x'", "the result is of type bytes, which is no JSON; use base64.encode(…)"),
    ("'a' + '\\u0000'", "a text contains the character U+0000"),
    ("{1: 2}", "the keys of an object are texts"),
    ("steps.a.output.?x", "the result is an optional value; add .orValue(…)"),
    ("'x'.substring(5)", "substring(5, 1) is outside a text of 1 characters"),
    ("'x'.split('')", "split needs a separator"),
    ("inputs.rows.join(',')", "join takes a list of texts"),
    ("'a'.matches(inputs.topic + '(')", "invalid regular expression: missing ): hi("),
]


@pytest.mark.parametrize(("source", "reason"), FAILURES, ids=[source for source, _ in FAILURES])
def test_failure_is_one_helpful_sentence(source, reason):
    with pytest.raises(ExpressionFailed) as caught:
        compile_expression(source).evaluate(SCOPE)
    assert str(caught.value).endswith(f": {reason}")
    assert str(caught.value).startswith(source[:50])


INVALID = [
    ("1 +", 1, 4, "Syntax error: mismatched input the end"),
    ("1 +\n 'a' +", 2, 7, "Syntax error: mismatched input the end"),
    ("nope.x", 1, 1, "there is no name 'nope'; names begin with inputs, steps, run, item, index, iteration, previous or output"),
    (
        "true && input.x > 1",
        1,
        9,
        "there is no name 'input'; did you mean 'inputs'?; names begin with inputs, steps, run, item, index, iteration, previous or output",
    ),
    ("steps.a", 1, 1, "of step 'a' there is steps.a.output, .status, .error, .messages and .artifacts"),
    ("steps.a.ouput", 1, 1, "of step 'a' there is steps.a.output, .status, .error, .messages and .artifacts; did you mean 'output'?"),
    ("steps", 1, 1, "write steps.<id>.output, .status, .error, .messages or .artifacts"),
    ("run.stats", 1, 1, "write run.id, run.workflow, run.status or run.error; did you mean 'status'?"),
    ("inputs.x + nope()", 1, 16, "there is no function or name 'nope'"),
    ("'a' + 1", 1, 5, "'+' does not take string, int"),
    ("google.protobuf.Int64Value{value: 3}", 1, 1, "'google.protobuf.Int64Value{…}' is no part of this language; write {'key': value}"),
    ("cel.bind(item, 1, item)", 1, 1, "there is no name 'cel'; names begin with inputs, steps, run, item, index, iteration, previous or output"),
    ("Inputs.x", 1, 1, "there is no name 'Inputs'; did you mean 'inputs'?; names begin with inputs, steps, run, item, index, iteration, previous or output"),
    ("\ud800", 1, 1, "an expression cannot contain U+0000 or half of a surrogate pair"),
    ("'\0'", 1, 1, "an expression cannot contain U+0000 or half of a surrogate pair"),
    ("(" * 40 + "1" + ")" * 40, 1, 1, "the expression is nested deeper than 32 levels"),
    ("[1]" + ".map(v, [v, v])" * 30, 1, 1, "the loops of the expression are nested or chained too deep"),
    ("1" * 10_001, 1, 1, "an expression has at most 10000 characters, this one has 10001"),
]


@pytest.mark.parametrize(("source", "line", "column", "detail"), INVALID, ids=[source[:30].encode("ascii", "replace").decode() for source, *_ in INVALID])
def test_invalid_says_where(source, line, column, detail):
    with pytest.raises(ExpressionInvalid) as caught:
        compile_expression(source)
    (problem,) = caught.value.problems
    assert (problem.detail, problem.line, problem.column) == (detail, line, column)


def test_unknown_names_are_all_reported_with_their_place():
    names = Names({"inputs.topic": "string", "steps.fetch.output": "dyn"})
    with pytest.raises(ExpressionInvalid) as caught:
        compile_expression("inputs.topics == 'x' &&\n steps.fetsh.output && item", names)
    assert [(problem.line, problem.column, problem.detail) for problem in caught.value.problems] == [
        (1, 1, "there is no input 'topics'; did you mean 'topic'?"),
        (2, 2, "there is no step 'fetsh' to refer to here; did you mean 'fetch'?"),
        (2, 24, "only a step with `map` has `item`"),
    ]


@pytest.mark.parametrize(
    ("source", "type_"),
    [("inputs.t", "STRING"), ("inputs.t == 'x'", "BOOL"), ("inputs.l", "LIST<STRING>"), ("inputs.l.map(x, size(x))", "LIST<INT>"), ("inputs.d", "DYN")],
)
def test_types_come_from_the_declared_names(source, type_):
    names = Names({"inputs.t": "string", "inputs.l": "list(string)", "inputs.d": "dyn"})
    assert compile_expression(source, names).type == type_


def test_type_mismatch_with_declared_names():
    with pytest.raises(ExpressionInvalid, match="'>' does not take int, double; write double"):
        compile_expression("inputs.n > 1.5", Names({"inputs.n": "int"}))


def test_names_are_exactly_what_is_read():
    expression = compile_expression("inputs.rows.map(item, item.id + index) == [] || has(steps.a.output.x) || has(inputs.topic)")
    assert expression.names == {"inputs.rows", "index", "steps.a.output", "inputs.topic"}


class Watched(Mapping):
    """A scope that records what is looked up."""

    def __init__(self, values):
        self.values_, self.seen = values, set()

    def __getitem__(self, key):
        self.seen.add(key)
        return self.values_[key]

    def __iter__(self) -> Iterator[str]:
        raise AssertionError("a lazy scope is never iterated")

    def __len__(self) -> int:
        raise AssertionError("a lazy scope is never counted")


def test_only_its_names_are_looked_up():
    scope = Watched(SCOPE)
    expression = compile_expression("inputs.n > 1 && has(steps.a.output) && has(inputs.topic)")
    assert expression.evaluate(scope) is True
    assert scope.seen == expression.names


def test_a_path_yields_the_very_object_whatever_its_size():
    rows = [{"k": 2**80} for _ in range(50_000)]
    assert compile_expression("steps.a.output.rows").evaluate({"steps.a.output": {"rows": rows}}) is rows


def test_the_scope_is_never_changed():
    scope = {"inputs": {"a": {"b": 1}}, "inputs.a": {"b": 1}}
    compile_expression("size(inputs) + inputs.a.b").evaluate(scope)
    assert scope == {"inputs": {"a": {"b": 1}}, "inputs.a": {"b": 1}}


def test_holds_and_elements_check_their_type():
    assert compile_expression("index == 4").holds(SCOPE) is True
    with pytest.raises(ExpressionFailed, match="the condition is a text, neither true nor false"):
        compile_expression("inputs.topic").holds(SCOPE)
    assert compile_expression("steps.a.output.l").elements(SCOPE) == [1, 2, 3]
    with pytest.raises(ExpressionFailed, match="this is null, not a list"):
        compile_expression("steps.skipped.output").elements(SCOPE)


LIMITS = [
    ("inputs.x.map(i, i)", list(range(2001)), "it reads a list of 2001 elements, more than 2000; do this in a python step or with `map`"),
    ("size(inputs.x) > 1", [[0] * 1000] * 300, "the values it reads are too many; read a smaller part, or compute this in a python step"),
    ("inputs.x.map(i, inputs.x.map(j, i + j))", list(range(150)), "the loops go round more than 10,000 times"),
    ("inputs.x == 1", 2**63, "a whole number does not fit 64 bits"),
    ("inputs.x == 'a'", "a\0b", "a text contains the character U+0000"),
    ("inputs.x == 'a'", {"k": ["\udc00"]}, "a text contains half of a surrogate pair"),
    ("size(inputs.x)", "a" * (4 * 2**20 + 1), "the texts it reads are longer than 4194304 characters together"),
    ("inputs.x.replace('a', 'aaaa')", "a" * 2**19, "the text would be longer than 1048576 characters"),
    ("[inputs.x, inputs.x, inputs.x].join('')", "a" * 2**19, "the text would be longer than 1048576 characters"),
    ("inputs.x" + " + inputs.x" * 30, "a" * 2**17, "it would build or compare too much; do this in a python step"),
    ("[inputs.x]" + ".map(v, [v, v, v, v, v, v])" * 9 + " == []", [1], "it would build or compare too much; do this in a python step"),
    ("inputs.x" + ".map(v, [v, v, v, v, v, v])" * 9 + " == inputs.x", [1], "it would build or compare too much; do this in a python step"),
]


@pytest.mark.parametrize(("source", "value", "reason"), LIMITS, ids=[f"{source[:40]} {reason[:20]}" for source, _, reason in LIMITS])
def test_limits_are_clear_errors(source, value, reason):
    with pytest.raises(ExpressionFailed) as caught:
        compile_expression(source).evaluate({"inputs.x": value})
    assert str(caught.value).endswith(reason)


def test_a_long_list_may_be_read_without_a_loop():
    assert compile_expression("size(inputs.x) == 20000").evaluate({"inputs.x": list(range(20_000))}) is True


def test_usual_joins_of_lists_are_within_the_limits():
    rows = [{"id": i, "name": f"n{i}", "tag": "t"} for i in range(2000)]
    scope = {"inputs.rows": rows, "inputs.ids": list(range(1000)), "inputs.prefix": "p" * 100}
    found = compile_expression("inputs.rows.filter(r, r.id in inputs.ids).map(r, {'n': inputs.prefix + r.name, 'tag': r.tag})").evaluate(scope)
    assert len(found) == 1000
    assert found[3] == {"n": "p" * 100 + "n3", "tag": "t"}


def test_results_are_the_same_in_every_process():
    """The order of an object's keys is random inside the library, differently in each process."""
    program = (
        "from runtime.definition.expressions import compile_expression as c; from runtime.definition.templates import compile_text as t\n"
        "scope = {'inputs.o': {k: i for i, k in enumerate('zyxwvutsrq')}}\n"
        "print(c('keys(inputs.o).map(k, inputs.o[k])').evaluate(scope), t('${{ {\"z\": inputs.o, \"a\": 1} }} !').render(scope))"
    )
    outputs = {
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env={**os.environ, "PYTHONHASHSEED": seed}).stdout
        for seed in ("1", "2", "3")
    }
    assert len(outputs) == 1
