"""What a JSON value may be: finite numbers of 64 bits, real Unicode, text keys, bounded depth and size."""

import math
from typing import Any

from runtime.definition.names import has_surrogate
from runtime.definition.pointers import join
from runtime.errors import Problem

MAX_DEPTH = 64
MAX_VALUES = 1_000_000
_MAX_PROBLEMS = 100


def check_json(value: Any, pointer: str = "") -> list[Problem]:
    """Everything in `value` that is no JSON we take; at most 100 problems."""
    problems: list[Problem] = []
    waiting: list[tuple[Any, str, int]] = [(value, pointer, 1)]
    count = 0
    while waiting and len(problems) < _MAX_PROBLEMS:
        current, where, depth = waiting.pop()
        count += 1
        detail = f"the document has more than {MAX_VALUES} values" if count > MAX_VALUES else _wrong(current, depth)
        if detail:
            problems.append(Problem(where, detail))
            if depth > MAX_DEPTH or count > MAX_VALUES:
                break
        elif isinstance(current, dict):
            waiting += [(inner, join(where, key)[:1000], depth + 1) for key, inner in reversed(current.items())]
        elif isinstance(current, list):
            waiting += [(inner, join(where, at), depth + 1) for at, inner in reversed(list(enumerate(current)))]
    return problems


def _wrong(value: Any, depth: int) -> str | None:
    if depth > MAX_DEPTH:
        return f"the document is nested deeper than {MAX_DEPTH} levels"
    if isinstance(value, str):
        return _wrong_text(value)
    if isinstance(value, dict):
        return next((_wrong_key(key) for key in value if _wrong_key(key)), None)
    return None if value is None or isinstance(value, bool | list) else _wrong_number(value)


def _wrong_number(value: Any) -> str | None:
    if isinstance(value, int):
        return None if -(2**63) <= value < 2**63 else "a whole number does not fit 64 bits"
    if isinstance(value, float):
        return None if math.isfinite(value) else "a number must be finite: NaN and infinity are no JSON"
    return f"a {type(value).__name__} is no JSON"


def _wrong_key(key: Any) -> str | None:
    if not isinstance(key, str):
        return f"the key {str(key)[:100]} is no text; write it in quotes"
    return "a key is longer than 1000 characters" if len(key) > 1000 else _wrong_text(key)


def _wrong_text(text: str) -> str | None:
    if "\0" in text:
        return "the character U+0000 is not allowed"
    return "half of a surrogate pair is no Unicode text" if not text.isascii() and has_surrogate(text) else None
