"""What our CEL knows beyond the standard: numbers mix, text functions, `keys`. All results are bounded."""

import operator
import re
from collections.abc import Callable
from typing import Any

from cel_expr_python import cel
from cel_expr_python.ext.ext_encoders import ExtEncoders
from cel_expr_python.ext.ext_math import ExtMath
from cel_expr_python.ext.ext_optional import ExtOptional

MAX_TEXT = 2**20
"""Characters of a text made by `join`, `replace` and their like."""

_T = cel.Type
_TEXT, _INT, _DOUBLE, _TEXTS = _T.STRING, _T.INT, _T.DOUBLE, _T.List(_T.STRING)
_OBJECT = _T.Map(_T.STRING, _T.DYN)


def _join(parts: list[str], separator: str = "") -> str:
    if not all(isinstance(part, str) for part in parts):
        raise ValueError("join takes a list of texts")
    if sum(map(len, parts)) + len(separator) * len(parts) > MAX_TEXT:
        raise ValueError(f"the text would be longer than {MAX_TEXT} characters")
    return separator.join(parts)


def _replace(text: str, old: str, new: str) -> str:
    if len(text) + text.count(old) * max(0, len(new) - len(old)) > MAX_TEXT:
        raise ValueError(f"the text would be longer than {MAX_TEXT} characters")
    return text.replace(old, new)


def _split(text: str, separator: str) -> list[str]:
    if not separator:
        raise ValueError("split needs a separator")
    return text.split(separator)


def _substring(text: str, start: int, end: int | None = None) -> str:
    end = len(text) if end is None else end
    if not 0 <= start <= end <= len(text):
        raise ValueError(f"substring({start}, {end}) is outside a text of {len(text)} characters")
    return text[start:end]


def _lower(text: str) -> str:
    return re.sub("[A-Z]+", lambda match: match[0].lower(), text)


def _upper(text: str) -> str:
    return re.sub("[a-z]+", lambda match: match[0].upper(), text)


def _divide(left: float, right: float) -> float:
    if right == 0:
        raise ValueError("division by zero")
    return left / right


def _keys(value: dict[str, Any]) -> list[str]:
    return sorted(value)


def _function(name: str, impl: Callable[..., Any], result: cel.Type, *parameters: cel.Type, member: bool = True) -> tuple[str, cel.Overload]:
    words = "_".join(["agentic", name.strip("_"), *(parameter.name() for parameter in parameters)])
    identifier = "".join(letter if letter.isalnum() else str(ord(letter)) for letter in words)
    return name, cel.Overload(identifier, result, list(parameters), member, impl)


def _mixed(name: str, impl: Callable[..., Any]) -> list[tuple[str, cel.Overload]]:
    return [_function(name, impl, _DOUBLE, *types, member=False) for types in ((_INT, _DOUBLE), (_DOUBLE, _INT))]


_FUNCTIONS = [
    *_mixed("_+_", operator.add),
    *_mixed("_-_", operator.sub),
    *_mixed("_*_", operator.mul),
    *_mixed("_/_", _divide),
    _function("keys", _keys, _TEXTS, _OBJECT, member=False),
    _function("join", _join, _TEXT, _TEXTS),
    _function("join", _join, _TEXT, _TEXTS, _TEXT),
    _function("split", _split, _TEXTS, _TEXT, _TEXT),
    _function("replace", _replace, _TEXT, _TEXT, _TEXT, _TEXT),
    _function("substring", _substring, _TEXT, _TEXT, _INT),
    _function("substring", _substring, _TEXT, _TEXT, _INT, _INT),
    _function("indexOf", str.find, _INT, _TEXT, _TEXT),
    _function("trim", str.strip, _TEXT, _TEXT),
    _function("lowerAscii", _lower, _TEXT, _TEXT),
    _function("upperAscii", _upper, _TEXT, _TEXT),
]


def _extension() -> cel.CelExtension:
    overloads: dict[str, list[cel.Overload]] = {}
    for name, overload in _FUNCTIONS:
        overloads.setdefault(name, []).append(overload)
    return cel.CelExtension("agentic", [cel.FunctionDecl(name, found) for name, found in overloads.items()])


EXTENSIONS = (_extension(), ExtMath(), ExtOptional(), ExtEncoders())
