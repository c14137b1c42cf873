"""JSON as we accept it. What the standard parser lets through and breaks databases, languages or people later is refused here.

Refused: anything but UTF-8, NaN and Infinity, numbers that overflow, integers beyond 64 bits, lone surrogates, U+0000,
duplicate keys, nesting over 64, more than 10,000 keys in one object, strings over 1 MiB unless the limit of the body is lower.
"""

import json
import math
from typing import Any

from runtime.api.problems import Malformed
from runtime.errors import Problem, RequestInvalid

MAX_DEPTH = 64
MAX_KEYS = 10_000
MAX_STRING = 2**20
MAX_INTEGER = 2**63 - 1


class _Flaw(Exception):
    """Something that may not be; the path to it is collected while the exception travels up."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.path: list[str | int] = []


class _Duplicate(dict[str, Any]):
    """An object with a duplicate key, marked so that the scan can say where it stands."""

    key = ""


class _NotFinite:
    """Stands for NaN, Infinity or -Infinity until the scan finds it."""


def loads(data: bytes) -> Any:
    """The value. Raises Malformed when it is no JSON, RequestInvalid with a pointer when it is JSON that is not accepted."""
    try:
        text = data.decode("utf-8")
        value = json.loads(text, object_pairs_hook=_object, parse_constant=_constant)
    except UnicodeDecodeError as error:
        raise Malformed(f"the body is not UTF-8 (byte {error.start})") from None
    except json.JSONDecodeError as error:
        detail = f"{error.msg} at line {error.lineno}, column {error.colno}"
        raise Malformed(f"the body is not JSON: {detail}", problems=[Problem("", error.msg, error.lineno, error.colno)]) from None
    except RecursionError:
        raise RequestInvalid(f"the JSON is nested deeper than {MAX_DEPTH}") from None
    except ValueError:
        # The only other one the parser raises: an integer of more digits than Python converts.
        raise RequestInvalid("a number has too many digits") from None
    try:
        _scan(value, 0)
    except _Flaw as flaw:
        pointer = "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in reversed(flaw.path))
        pointer = pointer.encode("utf-8", "replace").decode()
        raise RequestInvalid(f"the JSON is not acceptable: {flaw}", problems=[Problem(pointer, str(flaw))]) from None
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    marked, seen = _Duplicate(found), set[str]()
    for key, _ in pairs:
        if key in seen:
            marked.key = key
        seen.add(key)
    return marked


def _constant(_text: str) -> _NotFinite:
    return _NotFinite()


def _scan(value: Any, depth: int) -> None:
    kind = type(value)
    if kind is str:
        _scan_text(value)
    elif kind is dict or kind is _Duplicate:
        _scan_object(value, depth + 1)
    elif kind is list:
        _check_depth(depth + 1)
        for index, item in enumerate(value):
            try:
                _scan(item, depth + 1)
            except _Flaw as flaw:
                flaw.path.append(index)
                raise
    elif kind is int:
        if not -MAX_INTEGER - 1 <= value <= MAX_INTEGER:
            raise _Flaw("an integer does not fit into 64 bits; send it as a string")
    elif kind is _NotFinite or (kind is float and not math.isfinite(value)):
        raise _Flaw("a number is not finite")


def _scan_object(value: dict[str, Any], depth: int) -> None:
    _check_depth(depth)
    if len(value) > MAX_KEYS:
        raise _Flaw(f"an object has more than {MAX_KEYS} keys")
    if isinstance(value, _Duplicate):
        raise _Flaw(f"the key {value.key[:100]!a} stands twice in one object")
    for key, item in value.items():
        try:
            _scan_text(key)
            _scan(item, depth)
        except _Flaw as flaw:
            flaw.path.append(key[:200])
            raise


def _check_depth(depth: int) -> None:
    if depth > MAX_DEPTH:
        raise _Flaw(f"nested deeper than {MAX_DEPTH}")


def _scan_text(text: str) -> None:
    if len(text) > MAX_STRING:
        raise _Flaw(f"a string is longer than {MAX_STRING} characters")
    if "\0" in text:
        raise _Flaw("a string holds the character U+0000")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise _Flaw("a string holds a lone surrogate") from None
