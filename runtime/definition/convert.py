"""JSON into CEL and CEL values back into JSON, both ways bounded and refusing what the library would silently spoil."""

import math
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from runtime.definition.analysis import CONSTANTS, Usage
from runtime.definition.names import has_surrogate

MAX_LOOP_LIST = 2_000
"""Elements of a list in an expression that loops: the library's `map` and `filter` cost the square of it."""
MAX_NODES = 200_000
"""Values in everything an expression without loops reads, and in what any expression yields."""
MAX_LOOP_NODES = 20_000
MAX_READ_TEXT = 4 * 2**20
"""Characters in all values an expression reads, and in its result."""
MAX_BUILT_NODES = 2_000_000
MAX_BUILT_TEXT = 32 * 2**20
MAX_COMPARED_NODES = 20_000_000
"""Bounds of what `analysis.Usage` says may be built or compared."""


class Admission:
    """Counts what one evaluation reads; `admit` raises ValueError with a plain sentence when it is not fit for CEL."""

    def __init__(self, usage: Usage, constants: int) -> None:
        self.usage = usage
        self.longest = MAX_LOOP_LIST if usage.loops else MAX_NODES
        self.nodes = MAX_LOOP_NODES if usage.loops else MAX_NODES
        self.text = MAX_READ_TEXT
        self.built_nodes = self.built_text = self.compared = 0.0
        self._charge(CONSTANTS, 1, constants)

    def admit(self, name: str, value: Any) -> Any:
        """`value` itself, the value of `name`."""
        nodes, text = self.nodes, self.text
        self._walk(value)
        self._charge(name, nodes - self.nodes, text - self.text)
        return value

    def _charge(self, name: str, nodes: int, text: int) -> None:
        copies = self.usage.built.get(name, 0)
        self.built_nodes += copies * nodes
        self.built_text += copies * text
        self.compared += self.usage.compared.get(name, 0) * nodes
        if self.built_nodes > MAX_BUILT_NODES or self.built_text > MAX_BUILT_TEXT or self.compared > MAX_COMPARED_NODES:
            raise ValueError("it would build or compare too much; do this in a python step")

    def _walk(self, value: Any) -> None:
        self.nodes -= 1
        if self.nodes < 0:
            raise ValueError("the values it reads are too many; read a smaller part, or compute this in a python step")
        if isinstance(value, str):
            self._text(value)
        elif isinstance(value, dict):
            for key, inner in value.items():
                self._text(key)
                self._walk(inner)
        elif isinstance(value, list):
            if len(value) > self.longest:
                raise ValueError(f"it reads a list of {len(value)} elements, more than {self.longest}; do this in a python step or with `map`")
            for inner in value:
                self._walk(inner)
        elif isinstance(value, int) and not -(2**63) <= value < 2**63:
            raise ValueError("a whole number does not fit 64 bits")

    def _text(self, text: str) -> None:
        self.text -= len(text)
        if self.text < 0:
            raise ValueError(f"the texts it reads are longer than {MAX_READ_TEXT} characters together")
        _check(text)


class Departure:
    """Turns one result into JSON; `json` raises ValueError with a plain sentence when it is none or too large."""

    def __init__(self) -> None:
        self.nodes = MAX_NODES
        self.text = MAX_READ_TEXT

    def json(self, value: Any) -> Any:
        """Plain Python of a library's value: whole numbers stay int; times become RFC 3339 text, durations `1.5s`."""
        self.nodes -= 1
        if self.nodes < 0:
            raise ValueError(f"the result has more than {MAX_NODES} values")
        kind = value.type().name()
        if kind == "STRING":
            return self._text(value.value())
        if kind in ("INT", "UINT", "BOOL", "NULL"):
            return value.value()
        if kind == "DOUBLE":
            return _finite(value.value())
        if kind.startswith("LIST"):
            return [self.json(inner) for inner in value.value()]
        if kind.startswith("MAP"):
            return self._object(value.value())
        if kind in ("TIMESTAMP", "DURATION"):
            return _time(value.value())
        raise ValueError(f"the result is of type {kind.lower()}, which is no JSON{'; use base64.encode(…)' if kind == 'BYTES' else ''}")

    def _object(self, value: Mapping[Any, Any]) -> dict[str, Any]:
        if not all(isinstance(key, str) for key in value):
            raise ValueError("the keys of an object are texts")
        return {self._text(key): self.json(value[key]) for key in sorted(value)}

    def _text(self, text: str) -> str:
        self.text -= len(text)
        if self.text < 0:
            raise ValueError(f"the result has more than {MAX_READ_TEXT} characters")
        _check(text)
        return text


def _check(text: str) -> None:
    """Refuse what the library would cut off and no database can store."""
    if not text.isascii() and has_surrogate(text):
        raise ValueError("a text contains half of a surrogate pair")
    if "\0" in text:
        raise ValueError("a text contains the character U+0000")


def _finite(number: float) -> float:
    if not math.isfinite(number):
        raise ValueError("the result is not a finite number")
    return number


def _time(value: datetime | timedelta) -> str:
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    return f"{value.total_seconds():.6f}".rstrip("0").rstrip(".") + "s"
