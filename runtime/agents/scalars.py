"""Numbers and texts for JSON Schemas."""

import math
from typing import Any

from runtime.agents.digest import shorten
from runtime.agents.merging import UnsatisfiableError
from runtime.agents.patterns import FORMATS, FOUND_FORMATS, matching
from runtime.agents.speech import SCORES, Speech, tokens
from runtime.definition.schemas import check_value

MAX_TEXT = 100_000
NEIGHBOURS = (0, 1, -1, 2, -2)
"""Multiples that are tried around the one that is wanted: division rounds."""


class Scalars:
    """`variant` turns what can be chosen freely, for when the first choice did not satisfy the whole."""

    def __init__(self, speech: Speech, variant: int) -> None:
        self._speech, self._variant = speech, variant

    def number(self, schema: dict[str, Any], name: str, *, whole: bool) -> int | float:
        """A number within the schema's bounds. Raises UnsatisfiableError."""
        step = schema.get("multipleOf", 1 if whole else None)
        if whole and step is not None and not float(step).is_integer():
            step = step * round(1 / step) if step < 1 else step * 10
        low, high = _bounds(schema, step, graded=bool(tokens(name) & SCORES), whole=whole)
        wanted = min(high, max(low, self._speech.number(name, low, high)))
        if step is None:
            rounded = round(wanted, 2)
            return rounded if low <= rounded <= high else wanted
        return _multiple(wanted, step, low, high, whole=whole)

    def text(self, schema: dict[str, Any], name: str, place: int | None) -> tuple[str, bool]:
        """A text within the schema's bounds, and whether it is free: neither its pattern nor its format is fixed. Raises UnsatisfiableError."""
        low, high = schema.get("minLength", 0), schema.get("maxLength")
        if low > MAX_TEXT or (high is not None and high < low):
            raise UnsatisfiableError(f"no text has {low} to {high} characters")
        if "pattern" in schema:
            return self._matching(schema["pattern"], name, place, low, high), False
        if schema.get("format") in FORMATS:
            return self._formatted(schema["format"]), False
        text = self._speech.text(name, place)
        if name == "" and place is None:
            text = self._speech.text("summary", None)
        if self._variant:
            text = f"{text} {self._variant}"
        text = text if high is None else shorten(text, high)
        if len(text) < low:
            text = (text + " · " + (self._speech.sentence(0) + " ") * (low // 2 + 1))[:low]
        return text, True

    def _matching(self, pattern: str, name: str, place: int | None, low: int, high: int | None) -> str:
        said = self._speech.text(name, place)
        if not check_value({"type": "string", "pattern": pattern, "minLength": low} | ({} if high is None else {"maxLength": high}), said):
            return said
        text = matching(pattern, low)
        if text is None:
            raise UnsatisfiableError(f"no text for the pattern {pattern[:100]}")
        return text

    def _formatted(self, kind: str) -> str:
        found = FOUND_FORMATS[kind].search(self._speech.all_text) if kind in FOUND_FORMATS else None
        return found[0] if found and not check_value({"type": "string", "format": kind}, found[0]) else FORMATS[kind]


def _multiple(wanted: float, step: float, low: float, high: float, *, whole: bool) -> int | float:
    count = round(wanted / step)
    for neighbour in NEIGHBOURS:
        found = (count + neighbour) * step
        if low <= found <= high:
            return int(found) if whole else found
    raise UnsatisfiableError("no multiple lies within the bounds")


def _bounds(schema: dict[str, Any], step: float | None, *, graded: bool, whole: bool) -> tuple[float, float]:
    """The smallest and the greatest number allowed. Raises UnsatisfiableError."""
    grain = step or 1e-6
    low, high = schema.get("minimum", -math.inf), schema.get("maximum", math.inf)
    if (over := schema.get("exclusiveMinimum")) is not None and over >= low:
        low = over + grain if step is None else (math.floor(over / grain) + 1) * grain
    if (under := schema.get("exclusiveMaximum")) is not None and under <= high:
        high = under - grain if step is None else (math.ceil(under / grain) - 1) * grain
    usual = (1.0 if not whole else 5.0 if low >= 1 else 100.0) if graded else 1e6
    if low == -math.inf:
        low = min(0.0, high)
    if high == math.inf:
        high = max(usual, low + max(usual, step or 0))
    if low > high or (step is not None and math.floor(high / step) * step < low):
        raise UnsatisfiableError("no number lies within its bounds")
    return low, high
