"""The simulated model satisfies any reasonable JSON Schema."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runtime.agents.digest import MARK, Digest
from runtime.agents.filling import fill
from runtime.agents.merging import UnsatisfiableError
from runtime.agents.patterns import FORMATS, matching
from runtime.definition.schemas import check_value

TEXT = """The pump house of Elmford

In 2019 the town lost 38 percent of its water through leaks. The council hired two engineers and bought acoustic loggers.
By 2022 losses had fallen to 14 percent. Contact: info@elmford.example or https://elmford.example/water on 2024-05-06."""

PATTERNS = [
    "^[a-z]{3,8}$",
    "^[A-Z]{2}-\\d{4}$",
    "^(red|green|blue)$",
    "^\\w+@\\w+\\.org$",
    "^[^/]+$",
    "\\d+",
    "^v\\d+(\\.\\d+){2}$",
    "^$|^x",
    "^\\p{L}+$",
    "^[0-9a-f]{8}$",
]
words = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=5)
names = st.sampled_from(["title", "summary", "score", "keyPoints", "tags", "url", "order_id", "done", "a", "b_c", "größe", "source", "year", "x y"])


def texts() -> st.SearchStrategy[dict[str, Any]]:
    sized = st.tuples(st.integers(0, 300), st.integers(0, 300), st.booleans()).map(
        lambda t: {"type": "string", "minLength": t[0]} | ({"maxLength": t[0] + t[1]} if t[2] else {})
    )
    return st.one_of(
        st.just({"type": "string"}),
        sized,
        st.sampled_from(PATTERNS).map(lambda pattern: {"type": "string", "pattern": pattern}),
        st.sampled_from(sorted(FORMATS)).map(lambda kind: {"type": "string", "format": kind}),
    )


def numbers() -> st.SearchStrategy[dict[str, Any]]:
    def bounded(values: tuple[str, int, int, bool, bool]) -> dict[str, Any]:
        kind, low, width, over, under = values
        return {"type": kind, "exclusiveMinimum" if over else "minimum": low, "exclusiveMaximum" if under else "maximum": low + width + 2}

    return st.one_of(
        st.sampled_from([{"type": "integer"}, {"type": "number"}, {"type": "number", "minimum": 0.5}, {"type": "integer", "maximum": -3}]),
        st.tuples(st.sampled_from(["integer", "number"]), st.integers(-(10**6), 10**6), st.integers(0, 1000), st.booleans(), st.booleans()).map(bounded),
        st.tuples(st.sampled_from(["integer", "number"]), st.integers(1, 50), st.integers(-1000, 1000)).map(
            lambda t: {"type": t[0], "multipleOf": t[1], "minimum": t[2]}
        ),
        st.sampled_from([{"type": "number", "multipleOf": 0.5, "minimum": 0, "maximum": 1}, {"type": "number", "minimum": 0, "maximum": 0.001}]),
    )


leaves = st.one_of(
    texts(),
    numbers(),
    st.sampled_from(
        [
            {"type": "boolean"},
            {"type": "null"},
            {},
            True,
            {"type": ["string", "null"]},
            {"type": ["null", "integer"]},
            {"$ref": "#/$defs/name"},
            {"$ref": "#/$defs/tree"},
        ]
    ),
    st.lists(st.one_of(words, st.integers(-(2**40), 2**40), st.none(), st.booleans()), min_size=1, max_size=5).map(lambda options: {"enum": options}),
    st.one_of(words, st.integers(-(2**40), 2**40), st.just({"a": [1]})).map(lambda value: {"const": value}),
)


def lists(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    sized = st.tuples(inner, st.integers(0, 5), st.integers(0, 5)).map(lambda t: {"type": "array", "items": t[0], "minItems": t[1], "maxItems": t[1] + t[2]})
    unique = st.integers(0, 8).map(lambda low: {"type": "array", "items": {"type": "string"}, "minItems": low, "uniqueItems": True})
    numbered = st.integers(0, 5).map(lambda low: {"type": "array", "items": {"type": "integer"}, "minItems": low})
    fixed = st.lists(inner, min_size=1, max_size=3).map(lambda parts: {"type": "array", "prefixItems": parts, "items": False, "minItems": len(parts)})
    holding = inner.map(lambda part: {"type": "array", "contains": part, "minItems": 1})
    return st.one_of(sized, unique, numbered, fixed, holding)


@st.composite
def objects(draw: Any, inner: st.SearchStrategy[Any]) -> dict[str, Any]:
    properties = draw(st.dictionaries(names, inner, max_size=5))
    schema: dict[str, Any] = {"type": "object", "properties": properties}
    if draw(st.booleans()):
        schema["required"] = draw(st.lists(names, max_size=4, unique=True))
    if draw(st.booleans()) and set(schema.get("required", [])) <= set(properties):
        schema["additionalProperties"] = False
    elif draw(st.booleans()):
        schema["minProperties"] = draw(st.integers(0, 8))
    return schema


def combined(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    disjoint = st.sampled_from(
        [[{"type": "string"}, {"type": "object", "required": ["a"]}], [{"type": "integer", "maximum": 3}, {"type": "integer", "minimum": 4}]]
    )
    both = st.tuples(st.sampled_from(["title", "n"]), st.sampled_from(["score", "m"])).map(
        lambda pair: {"allOf": [{"type": "object", "required": [pair[0]]}, {"properties": {pair[1]: {"type": "integer", "minimum": 2}}, "required": [pair[1]]}]}
    )
    branching = st.just(
        {
            "type": "object",
            "properties": {"kind": {"enum": ["a", "b"]}},
            "required": ["kind"],
            "if": {"properties": {"kind": {"const": "a"}}},
            "then": {"required": ["alpha"]},
            "else": {"required": ["beta"], "properties": {"beta": {"type": "integer"}}},
        }
    )
    return st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(lambda options: {"anyOf": options}), disjoint.map(lambda options: {"oneOf": options}), both, branching
    )


schemas = st.recursive(leaves, lambda inner: st.one_of(lists(inner), objects(inner), combined(inner)), max_leaves=12)
DEFS = {
    "name": {"type": "string", "minLength": 2, "maxLength": 40},
    "tree": {
        "type": "object",
        "required": ["name"],
        "properties": {"name": {"$ref": "#/$defs/name"}, "children": {"type": "array", "items": {"$ref": "#/$defs/tree"}, "maxItems": 2}},
    },
}


@given(schemas, st.sampled_from([TEXT, "", "x", '{"title": "A", "score": 12, "done": true, "tags": ["p", "q"]}', "título: señal\n" * 30]), st.integers(0, 3))
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_schema_is_satisfied(schema, text, seed):
    whole = {**schema, "$defs": DEFS} if isinstance(schema, dict) else schema
    value = fill(whole, Digest(text), seed=seed)
    assert check_value(whole, value) == []
    assert fill(whole, Digest(text), seed=seed) == value, "the same question, the same answer"


@pytest.mark.parametrize(
    "schema",
    [
        False,
        {"type": "integer", "minimum": 3, "maximum": 2},
        {"type": "string", "minLength": 3, "maxLength": 2},
        {"type": "array", "items": {"enum": [1]}, "uniqueItems": True, "minItems": 2},
        {"type": "object", "required": ["a"], "properties": {"a": False}},
        {"$ref": "#/$defs/nowhere"},
        {"$ref": "#"},
        {"type": "object", "required": ["a"], "properties": {"a": {"$ref": "#"}}},
        {"enum": [1, 2], "type": "string"},
        {"type": "string", "pattern": "^a$", "minLength": 5},
    ],
)
def test_what_nobody_can_satisfy_is_an_error(schema):
    with pytest.raises(UnsatisfiableError):
        fill(schema, Digest(TEXT))


def test_the_answer_speaks_of_the_text():
    schema = {
        "type": "object",
        "required": ["title", "summary", "key_points", "score", "contact", "link", "date"],
        "properties": {
            "title": {"type": "string", "maxLength": 60},
            "summary": {"type": "string"},
            "key_points": {"type": "array", "items": {"type": "string"}, "minItems": 2, "maxItems": 3},
            "score": {"type": "number", "minimum": 0, "maximum": 1},
            "contact": {"type": "string", "format": "email"},
            "link": {"type": "string", "format": "uri"},
            "date": {"type": "string", "format": "date"},
        },
    }
    value = fill(schema, Digest(TEXT, topic="water losses and leaks"))
    assert value["title"] == "The pump house of Elmford"
    assert value["summary"].startswith(MARK + "In 2019 the town lost 38 percent")
    assert all(point in " ".join(TEXT.split()) for point in value["key_points"])
    assert (value["contact"], value["link"], value["date"]) == ("info@elmford.example", "https://elmford.example/water", "2024-05-06")
    off_topic = fill(schema, Digest(TEXT, topic="violins and their varnish"))
    assert value["score"] > off_topic["score"]


def test_what_the_text_says_outright_is_taken():
    schema = {
        "type": "object",
        "properties": {"customer": {"type": "string"}, "amount": {"type": "number"}, "urgent": {"type": "boolean"}, "city": {"enum": ["Bern", "Basel"]}},
    }
    expected = {"customer": MARK + "Jane Roe", "amount": 249.9, "urgent": True, "city": "Basel"}
    assert fill(schema, Digest("Customer: Jane Roe\nAmount: 249.90 EUR\nUrgent: yes\nCity: Basel")) == expected
    assert fill(schema, Digest('Order: {"customer": "Jane Roe", "amount": 249.9, "urgent": true, "city": "Basel"}')) == expected


def test_one_text_is_marked_where_it_fits():
    assert fill({"type": "string", "maxLength": 20}, Digest(TEXT)).startswith(MARK)
    assert not fill({"type": "string", "maxLength": 8}, Digest(TEXT)).startswith(MARK)
    both = fill({"type": "object", "properties": {"title": {"type": "string"}, "reason": {"type": "string"}}}, Digest(TEXT))
    assert [text.startswith(MARK) for text in both.values()] == [False, True]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_patterns(pattern):
    text = matching(pattern)
    assert text is not None
    assert check_value({"type": "string", "pattern": pattern}, text) == []


def test_an_unusual_pattern_is_given_up():
    assert matching("(?<=a)(?!b)(") is None


def laughs(depth: int) -> dict[str, Any]:
    doubled = {f"d{level}": {"allOf": [{"$ref": f"#/$defs/d{level + 1}"}, {"$ref": f"#/$defs/d{level + 1}"}]} for level in range(depth)}
    return {"$ref": "#/$defs/d0", "$defs": {**doubled, f"d{depth}": {"type": "string"}}}


HOSTILE = [
    {"type": "string", "minLength": 10**9},
    {"type": "array", "minItems": 10**9},
    {"type": "array", "minItems": 100_000, "uniqueItems": True, "items": {"type": "string"}},
    {"type": "object", "minProperties": 10**9},
    {"type": "string", "pattern": "^((a{1000}){1000}){1000}$"},
    {"type": "string", "pattern": "^(a+)+[^\\w\\W]$", "minLength": 40},
    {"type": "number", "minimum": 1e308, "multipleOf": 1e-300},
    {"type": "number", "minimum": 1e17, "maximum": 1e17, "multipleOf": 0.3},
    {"allOf": [{"$ref": "#"}]},
    {"allOf": [{"anyOf": [{"minLength": number + part} for number in range(40)]} for part in range(5)]},
    laughs(40),
]


@pytest.mark.parametrize("schema", HOSTILE, ids=lambda schema: str(schema)[:60])
def test_a_schema_cannot_keep_the_process_busy(schema):
    with pytest.raises(UnsatisfiableError):
        fill(schema, Digest(TEXT))


@pytest.mark.parametrize(
    "text", ["[" * 200_000, '{"a": ' * 50_000, "\n" * 200_000, ". " * 100_000, "a" * 200_000, "# " * 100_000, "-" * 200_000, "1" * 200_000, "x\x00y\ud83d"]
)
def test_a_text_cannot_keep_the_process_busy(text):
    digest = Digest(text, topic=text)
    assert isinstance(digest.title, str)
    assert 0 <= digest.relevance() <= 1
    digest.labelled("a_b")
    digest.summary(3)
