"""Texts that match a regular expression or a JSON Schema format."""

import re
from re import _constants as op  # type: ignore[attr-defined]  # the standard library has no public parser of patterns
from re import _parser as parser  # type: ignore[attr-defined]  # as above
from typing import Any

from runtime.definition.schemas import check_value

FORMATS = {
    "date": "2026-01-15",
    "date-time": "2026-01-15T09:00:00Z",
    "time": "09:00:00Z",
    "duration": "P1D",
    "email": "someone@example.com",
    "idn-email": "someone@example.com",
    "hostname": "example.com",
    "idn-hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.com/",
    "iri": "https://example.com/",
    "uri-reference": "/example",
    "iri-reference": "/example",
    "uri-template": "/example/{id}",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "json-pointer": "/example",
    "relative-json-pointer": "0",
    "regex": "^example$",
}
"""An example of each format, marked as one where the format allows it."""

FOUND_FORMATS = {
    "date": re.compile(r"\b\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d)\b"),
    "email": re.compile(r"\b[\w.+-]{1,64}@[A-Za-z0-9-]{1,63}\.[A-Za-z]{2,24}\b", re.ASCII),
    "uri": re.compile(r"\bhttps?://[A-Za-z0-9./_~%?=&#-]{1,300}[A-Za-z0-9/]"),
    "uuid": re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b"),
}
"""How they are found in a text."""

_CATEGORIES = {
    "CATEGORY_DIGIT": "0",
    "CATEGORY_WORD": "a",
    "CATEGORY_SPACE": " ",
    "CATEGORY_NOT_DIGIT": "a",
    "CATEGORY_NOT_WORD": "-",
    "CATEGORY_NOT_SPACE": "a",
}
MAX_LENGTH = 100_000
_UNICODE_CLASS = re.compile(r"\\[pP]\{[^}]*\}|\\[pP][A-Z]")


class _TooLongError(ValueError):
    pass


def matching(pattern: str, minimum: int = 0) -> str | None:
    """A short text that contains a match of `pattern` and has `minimum` characters if repetitions allow; None when it cannot be made."""
    rule = {"type": "string", "pattern": pattern, "minLength": minimum}
    try:
        tree = parser.parse(_UNICODE_CLASS.sub("a", pattern))
        for extra in (0, minimum):
            text = _made(tree, extra)
            # checked by an engine that runs in linear time: Python's own can be kept busy for years
            if not check_value(rule, text):
                return text
    except (re.error, RecursionError, OverflowError, _TooLongError):
        return None
    return None


def _made(tree: Any, extra: int) -> str:
    return "".join(_part(code, argument, extra) for code, argument in tree)


def _part(code: Any, argument: Any, extra: int) -> str:  # noqa: PLR0911 - one line for each kind of node
    if code in (op.MAX_REPEAT, op.MIN_REPEAT, op.POSSESSIVE_REPEAT):
        low, high, inner = argument
        times: int = min(low + extra, high if isinstance(high, int) else low + extra)
        once = _made(inner, 0)
        if len(once) * times > MAX_LENGTH:
            raise _TooLongError
        return once * times
    if code is op.SUBPATTERN:
        return _made(argument[3], extra)
    if code is op.BRANCH:
        return _made(argument[1][0], extra)
    if code is op.LITERAL:
        return chr(argument)
    if code is op.NOT_LITERAL:
        return "b" if argument == ord("a") else "a"
    if code is op.IN:
        return _one_of(argument)
    return "a" if code is op.ANY else ""


def _one_of(choices: Any) -> str:
    if choices[0][0] is op.NEGATE:
        refused = re.compile("[" + "".join(_class(code, value) for code, value in choices[1:]) + "]")
        return next((letter for letter in "abcxyzABC019 -_.,:;#" if not refused.match(letter)), "§")
    code, value = choices[0]
    if code is op.LITERAL:
        return chr(value)
    return chr(value[0]) if code is op.RANGE else _CATEGORIES.get(str(value), "a")


def _class(code: Any, value: Any) -> str:
    if code is op.LITERAL:
        return re.escape(chr(value))
    if code is op.RANGE:
        return f"{re.escape(chr(value[0]))}-{re.escape(chr(value[1]))}"
    letter = str(value).rpartition("_")[2][0].lower()
    return "\\" + (letter.upper() if "_NOT_" in str(value) else letter)
