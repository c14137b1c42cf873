import pytest

from runtime.definition.yaml import read
from runtime.errors import DefinitionInvalid

VALUES = [
    (
        "a: no\nb: on\nc: 012\nd: 12:30:00\ne: 1e3\nf: 0x1F\ng: 0o17\nh: 2027-01-31\n",
        {"a": "no", "b": "on", "c": 12, "d": "12:30:00", "e": 1000.0, "f": 31, "g": 15, "h": "2027-01-31"},
    ),
    (
        "a: ~\nb: null\nc:\nd: true\ne: False\nf: 'true'\ng: \"1\"\nh: -.5\n",
        {"a": None, "b": None, "c": None, "d": True, "e": False, "f": "true", "g": "1", "h": -0.5},
    ),
    ("1: x\ntrue: y\n", {"1": "x", "true": "y"}),
    ("{a: b, c: [1, 2]}", {"a": "b", "c": [1, 2]}),
    ('{"a": "\\ud83d\\ude00\\/", \t"b": [1.0, {"c": null}]}', {"a": "😀/", "b": [1.0, {"c": None}]}),
    ("﻿a: 1", {"a": 1}),
    ("[1, 2]", [1, 2]),
    ("x: |\n  a\n   b\n", {"x": "a\n b\n"}),
    ("٣: ٣", {"٣": "٣"}),
]


@pytest.mark.parametrize(("text", "expected"), VALUES, ids=[text[:20].strip() for text, _ in VALUES])
def test_values_are_those_of_yaml_1_2_and_json(text, expected):
    assert read(text)[0] == expected
    assert read(text.encode())[0] == expected


BAD = [
    ("", "", 1, 1, "the document is empty"),
    ("\n \n", "", 1, 1, "the document is empty"),
    ("a: &x 1\nb: 2", "/a", 1, 4, "anchors and aliases (& and *) are not allowed; write the value itself"),
    ("a: 1\nb: *x", "/b", 2, 4, "anchors and aliases (& and *) are not allowed; write the value itself"),
    ("a: !!python/object/apply:os.system [x]", "/a", 1, 4, "tags (tag:yaml.org,2002:python/object/apply:os.system) are not allowed"),
    ("a: 1\nb: 2\na: 3", "/a", 3, 1, "the key 'a' is there twice"),
    ('{"x": {"a": 1,\n "a": 2}}', "/x/a", 2, 2, "the key 'a' is there twice"),
    ("<<: {a: 1}", "/0", 1, 1, "merge keys (<<) are not allowed"),
    ("? [a]\n: b", "/0", 1, 3, "a key must be text"),
    ("a: 1\n---\nb: 2", "", 2, 1, "there is more than one document; write one"),
    ("a: .nan", "/a", 1, 4, "a number must be finite: NaN and infinity are no JSON"),
    ("a: [-.inf]", "/a/0", 1, 5, "a number must be finite: NaN and infinity are no JSON"),
    ("a: 1e999", "/a", 1, 4, "a number must be finite: NaN and infinity are no JSON"),
    ('{"a": 1e999}', "/a", 1, 7, "a number must be finite: NaN and infinity are no JSON"),
    ('{"a": NaN}', "", 1, 7, "this is no JSON: a value is expected here"),
    ('{"a": 1,}', "", 1, 9, "this is no JSON: a key in quotes is expected here"),
    ('{"a": 1} x', "", 1, 10, "this is no JSON: there is something behind the end of the document"),
    ('{"a": "x\ny"}', "", 1, 9, "this is no JSON: Invalid control character at"),
    ("a: 9223372036854775808", "/a", 1, 4, "a whole number does not fit 64 bits"),
    ("a: " + "9" * 5000, "/a", 1, 4, "a whole number does not fit 64 bits"),
    ('{"a": ' + "9" * 5000 + "}", "", 1, 7, "this is no JSON: a whole number does not fit 64 bits"),
    ('a: "\\0"', "/a", 1, 4, "the character U+0000 is not allowed"),
    ('{"a": ["\\ud800"]}', "/a/0", 1, 8, "half of a surrogate pair is no Unicode text"),
    ('{"a\\ud800": 1}', "", 1, 1, "half of a surrogate pair is no Unicode text"),
    ("\ud800", "", None, None, "the document is not UTF-8 text (byte 0)"),
    (b"a: \xff", "", None, None, "the document is not UTF-8 text (byte 3)"),
    ("a:\n\t- b", "/a", 2, 1, "this is no YAML: while scanning for the next token found character that cannot start any token"),
    ("a: b: c", "/a", 1, 5, "this is no YAML: mapping values are not allowed in this context"),
    ("[" * 65 + "]" * 65, "", 1, 65, "this is no JSON: the document is nested deeper than 64 levels"),
    ("- " * 65 + "x", "/0" * 64, 1, 129, "the document is nested deeper than 64 levels"),
    ("a: " + "x" * 2**20, "", None, None, "the document has 1048579 bytes, more than 1048576"),
    ("é: " + "é" * 2**19, "", None, None, "the document has 1048580 bytes, more than 1048576"),
]


@pytest.mark.parametrize(("text", "pointer", "line", "column", "detail"), BAD, ids=[f"{text[:25]!r}" for text, *_ in BAD])
def test_refused(text, pointer, line, column, detail):
    with pytest.raises(DefinitionInvalid) as caught:
        read(text)
    (problem,) = caught.value.problems
    assert (problem.detail, problem.line, problem.column) == (detail, line, column)
    assert problem.pointer == ("" if "this is no YAML" in detail else pointer)


def test_marks_tell_where_values_and_keys_are():
    _, marks = read("é: x\nb:\n  - 1\n  - c: [y, z]\n")
    assert marks.value("/é") == (1, 4)
    assert marks.value("/b/1/c/1") == (4, 12)
    assert marks.key("/b/1/c") == (4, 5)
    assert marks.value("/b/1/nothing") == (4, 5)
    assert marks.value("") == (1, 1)


PLACES = """é: |
  one é
    two ${{ x1 }}
b: >
  folded text
  goes on ${{ x2 }}

  after a blank line ${{ x3 }}
c: "q \\"é\\u00e9\\" ${{ x4 }}"
d: 'it''s ${{ x5 }}'
e: plain ${{ x6 }}
f: plain
  more ${{ x7 }}
g: "a

  b ${{ x8 }}"
h: |-

  z ${{ x9 }}
"""


@pytest.mark.parametrize(("key", "word"), [("é", "x1"), ("b", "x2"), ("b", "x3"), ("c", "x4"), ("d", "x5"), ("e", "x6"), ("f", "x7"), ("g", "x8"), ("h", "x9")])
def test_places_within_a_text_are_exact_however_it_is_written(key, word):
    document, marks = read(PLACES)
    text = document[key]
    before = text[: text.index(word)]
    line, column = marks.within(f"/{key}", before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1, text)
    assert PLACES.split("\n")[line - 1][column - 1 :].startswith(word)


def test_places_within_a_json_string():
    source = '{"a": "x\\n\\u00e9 ${{ y }}"}'
    document, marks = read(source)
    text = document["a"]
    line, column = marks.within("/a", 2, text.split("\n")[1].index("y") + 1, text)
    assert (line, source[column - 1]) == (1, "y")
