"""CEL expressions over the names of a run: compiled once, evaluated in microseconds, bounded, deterministic.

A plain path (`steps.notes.output.title`, `inputs.sources[0]`), by far the most common expression, never reaches the library: it is read
straight from the values, whatever their size, and yields the very object that is there.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import takewhile
from typing import Any

from cel_expr_python.cel import Expression as Program

from runtime.definition import cel
from runtime.definition.analysis import Usage, usage
from runtime.definition.convert import Admission, Departure
from runtime.definition.names import CEL_WORDS, Names, UnknownNameError, has_surrogate, name_of, presence, unknown_name
from runtime.errors import DefinitionInvalid, ExpressionFailed, Problem

MAX_SOURCE = 10_000
"""Characters."""

_PATH = re.compile(r"\s*([A-Za-z_]\w*(?:\.[A-Za-z_]\w*|\[\d{1,9}\])*)\s*", re.ASCII)
_SEGMENT = re.compile(r"([A-Za-z_]\w*)|\[(\d+)\]", re.ASCII)
_MISSING = object()

Scope = Mapping[str, Any]
"""Dotted name → JSON value. May be lazy: only an expression's own `names` are looked up."""


class ExpressionInvalid(DefinitionInvalid):
    """The source is no valid expression here. Lines and columns of its problems count within the source."""


@dataclass(frozen=True, slots=True, eq=False)
class Expression:
    """A compiled expression.

    `names` are all names it may read; `type` is the CEL type of its result as far as known (`BOOL`, `DYN`, `LIST<STRING>`…).
    """

    source: str
    names: frozenset[str]
    type: str
    path: tuple[str | int, ...] | None = None
    program: Program | None = None
    usage: Usage | None = None

    def evaluate(self, scope: Scope) -> Any:
        """The result as JSON. Raises ExpressionFailed. The result may be a part of `scope` itself: do not change it."""
        try:
            return self._run(scope) if self.path is None else self._walk(scope)
        except ValueError as error:
            raise ExpressionFailed(f"{_short(self.source)}: {error}") from None

    def holds(self, scope: Scope) -> bool:
        """The result of a condition. Raises ExpressionFailed, also when it is neither true nor false."""
        result = self.evaluate(scope)
        if isinstance(result, bool):
            return result
        raise ExpressionFailed(f"{_short(self.source)}: the condition is {_kind(result)}, neither true nor false")

    def elements(self, scope: Scope) -> list[Any]:
        """The result of a `map.over`. Raises ExpressionFailed, also when it is no list."""
        result = self.evaluate(scope)
        if isinstance(result, list):
            return result
        raise ExpressionFailed(f"{_short(self.source)}: this is {_kind(result)}, not a list")

    def _walk(self, scope: Scope) -> Any:
        name, *rest = self.path or ()
        value = _value(scope, str(name))
        where = str(name)
        for part in rest:
            value = _part(value, part, where)
            where += f"[{part}]" if isinstance(part, int) else f".{part}"
        return value

    def _run(self, scope: Scope) -> Any:
        found, program = self.usage, self.program
        if found is None or program is None:
            raise ValueError("it was not compiled")
        admission = Admission(found, len(self.source))
        data: dict[str, Any] = {}
        for name in found.reads:
            _put(data, name, admission.admit(name, _value(scope, name)))
        for name in found.presences:
            _put(data, presence(name), value=True if _value(scope, name) is not None else _MISSING)
        return Departure().json(cel.run(program, data))


def _value(scope: Scope, name: str) -> Any:
    value = scope.get(name, _MISSING)
    if value is _MISSING:
        raise ValueError(f"'{name}' has no value here")
    return value


def _part(value: Any, part: str | int, where: str) -> Any:
    if isinstance(part, str) and isinstance(value, dict):
        if part in value:
            return value[part]
        raise ValueError(f"{where} has no field '{part}'; test with has({where}.{part}) first")
    if isinstance(part, int) and isinstance(value, list):
        if part < len(value):
            return value[part]
        raise ValueError(f"{where} has {len(value)} elements, so there is no [{part}]")
    what = f"no field '{part}'" if isinstance(part, str) else f"no element [{part}]"
    raise ValueError(f"{where} is {_kind(value)}, so it has {what}")


def _put(data: dict[str, Any], name: str, value: Any) -> None:
    """Set `steps.a.output` in nested objects; of a missing value only the objects around it."""
    *path, last = name.split(".")
    for part in path:
        data = data.setdefault(part, {})
    if value is not _MISSING:
        data[last] = value


def _kind(value: Any) -> str:
    words = {bool: "true or false", int: "a number", float: "a number", str: "a text", list: "a list", dict: "an object"}
    return words.get(type(value), "null")


def _short(source: str) -> str:
    text = " ".join(source.split())
    return text if len(text) <= 100 else text[:97] + "…"


def compile_expression(source: str, declared: Names | None = None) -> Expression:
    """Compile `source`, which may use the names in `declared`, or any well-formed name when that is None.

    With `declared`, types are checked too. Raises ExpressionInvalid with every problem found.
    """
    if len(source) > MAX_SOURCE:
        raise _invalid(source, [(0, f"an expression has at most {MAX_SOURCE} characters, this one has {len(source)}")])
    if declared is None:
        return _compile(source)
    names = names_of(source)
    mistakes = [(at, unknown_name(name, declared)) for name, at in names.items() if name not in declared.types]
    if mistakes:
        raise _invalid(source, mistakes)
    try:
        type_ = cel.result_type(_presence_renamed(source), declared)
    except cel.CelError as error:
        raise _rejected(error) from None
    return replace(_compile(source), type=type_)


@lru_cache(maxsize=8192)
def _compile(source: str) -> Expression:
    path = _plain_path(source)
    if path is not None:
        return Expression(source, frozenset({str(path[0])}), "DYN", path)
    found = _usage(source)
    text = _presence_renamed(source)
    try:
        program, type_ = cel.program(text, loops=found.loops)
        return Expression(source, found.names, type_, program=program, usage=found)
    except cel.CelError as error:
        raise _rejected(error) from None


def names_of(source: str) -> dict[str, int]:
    """The names an expression reads, with the offset where each first stands. Raises ExpressionInvalid."""
    path = _plain_path(source)
    if path is not None:
        return {str(path[0]): len(source) - len(source.lstrip())}
    found = _usage(source)
    return {**found.presences, **found.values}


def _presence_renamed(source: str) -> str:
    """`has(inputs.x)` as `has(Inputs.x)`: same length, so that columns stay true."""
    if _plain_path(source) is None:
        for at, root in _usage(source).spots.items():
            source = source[:at] + root.capitalize() + source[at + len(root) :]
    return source


@lru_cache(maxsize=4096)
def _usage(source: str) -> Usage:
    if has_surrogate(source) or "\0" in source:
        raise _invalid("", [(0, "an expression cannot contain U+0000 or half of a surrogate pair")])
    try:
        found = usage(*cel.parse(source))
    except cel.CelError as error:
        raise _rejected(error) from None
    if found.mistakes:
        raise _invalid(source, found.mistakes)
    return found


def _plain_path(source: str) -> tuple[str | int, ...] | None:
    """`steps.a.output.title[0]` as ("steps.a.output", "title", 0); None when `source` is anything else."""
    match = _PATH.fullmatch(source)
    if match is None:
        return None
    parts: list[str | int] = [int(index) if index else word for word, index in _SEGMENT.findall(match[1])]
    words = tuple(str(part) for part in takewhile(lambda part: isinstance(part, str), parts))
    if not CEL_WORDS.isdisjoint(words):
        return None
    try:
        name = name_of(words)
    except UnknownNameError as error:
        raise _invalid(source, [(match.start(1), str(error))]) from None
    return (name, *parts[name.count(".") + 1 :])


def _invalid(source: str, mistakes: list[tuple[int, str]]) -> ExpressionInvalid:
    problems = [Problem("", detail, *line_and_column(source, at)) for at, detail in mistakes]
    return ExpressionInvalid(problems[0].detail, problems=problems)


def _rejected(error: cel.CelError) -> ExpressionInvalid:
    problems = [Problem("", mistake.detail, mistake.line, mistake.column) for mistake in error.mistakes]
    return ExpressionInvalid(str(error), problems=problems)


def line_and_column(text: str, offset: int) -> tuple[int, int]:
    """Where `offset` is in `text`, both counted from 1."""
    before = text[:offset]
    return before.count("\n") + 1, offset - (before.rfind("\n") + 1) + 1
