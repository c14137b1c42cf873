"""What the body reader lets in, and what it says about the rest."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.api.problems import Malformed
from runtime.api.strict_json import MAX_DEPTH, MAX_KEYS, MAX_STRING, loads
from runtime.errors import RequestInvalid

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), inner, max_size=5),
    max_leaves=30,
)


@given(VALUES)
def test_json_comes_back_as_it_was(value: Any) -> None:
    assert loads(json.dumps(value).encode()) == value
    assert loads(json.dumps(value, ensure_ascii=False).encode()) == value


@given(st.binary(max_size=200))
def test_no_bytes_surprise_the_reader(data: bytes) -> None:
    try:
        loads(data)
    except RequestInvalid:
        return
    json.loads(data)


@pytest.mark.parametrize(
    ("body", "pointer", "words"),
    [
        (b'{"a": [1, NaN]}', "/a/1", "not finite"),
        (b'{"a": -Infinity}', "/a", "not finite"),
        (b"[1e999]", "/0", "not finite"),
        (b'{"a": {"b": 1, "b": 2}}', "/a", "'b' stands twice"),
        (b'{"a": "\\ud800"}', "/a", "lone surrogate"),
        (b'{"\\udc00": 1}', "/?", "lone surrogate"),
        (b'{"x/y": {"t~u": "\\u0000"}}', "/x~1y/t~0u", "U+0000"),
        (b'{"a": 9223372036854775808}', "/a", "64 bits"),
        (b'{"a": -9223372036854775809}', "/a", "64 bits"),
        (b"[" * 65 + b"]" * 65, "/0" * 64, "deeper than 64"),
        (b'["' + b"x" * (MAX_STRING + 1) + b'"]', "/0", "longer than"),
        (json.dumps({"o": {str(n): 0 for n in range(MAX_KEYS + 1)}}).encode(), "/o", "more than 10000 keys"),
    ],
)
def test_what_is_refused_is_pointed_at(body: bytes, pointer: str, words: str) -> None:
    with pytest.raises(RequestInvalid, match=words.replace("+", r"\+")) as refused:
        loads(body)
    assert not isinstance(refused.value, Malformed)
    assert [problem.pointer for problem in refused.value.problems] == [pointer]


@pytest.mark.parametrize("body", [b"[" * 900 + b"]" * 900, b"[" * 100_000, b"9" * 5000, b'{"a":' * 2000 + b"1" + b"}" * 2000])
def test_depth_and_digits_do_not_break_the_parser(body: bytes) -> None:
    with pytest.raises(RequestInvalid):
        loads(body)


def test_depth_up_to_the_limit_is_fine() -> None:
    loads(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH)


@pytest.mark.parametrize("body", [b"", b"{", b"nul", b"\xff{}", '{"a": 1}'.encode("utf-16"), b"\xef\xbb\xbf{}", b"{} {}", b"{'a': 1}", b"[1,]"])
def test_what_is_no_json_is_malformed(body: bytes) -> None:
    with pytest.raises(Malformed):
        loads(body)
