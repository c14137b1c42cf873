"""Text and value templates: constants with `${{ cel }}` segments. Nothing else in them is ever evaluated.

A text that is one single segment keeps the type of its result; otherwise the parts are joined, whatever is no text as compact JSON.
`$${{` writes `${{`.
"""

import json
import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from runtime.definition.expressions import Expression, ExpressionInvalid, Scope, compile_expression, line_and_column
from runtime.definition.names import Names
from runtime.definition.pointers import join
from runtime.errors import DefinitionInvalid, ExpressionFailed, Problem

MAX_RENDERED = 10 * 2**20
"""Characters of one rendered text."""

_OPEN = re.compile(r"\$?\$\{\{")
_TOKEN = re.compile(
    r"""[rR]('{3}|"{3}).*?\1|[rR]'[^'\n]*'|[rR]"[^"\n]*"|('{3}|"{3})(?:\\.|.)*?\2|'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|[{}]""",
    re.DOTALL,
)
"""Strings of CEL (raw ones have no escapes) and braces."""


class TemplateInvalid(DefinitionInvalid):
    """A segment does not end or holds no valid expression. Pointers count from the value, lines and columns from the text."""


class Template(ABC):
    """A compiled text or value. `names` are all names it may read; `constant` says that rendering never changes anything."""

    __slots__ = ("names",)
    names: frozenset[str]

    @property
    def constant(self) -> bool:
        return False

    @abstractmethod
    def render(self, scope: Scope) -> Any:
        """The JSON. Raises ExpressionFailed. It may share parts with `scope` and with other renderings: do not change it."""


class Constant(Template):
    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.names, self.value = frozenset(), value

    @property
    def constant(self) -> bool:
        return True

    def render(self, scope: Scope) -> Any:  # noqa: ARG002  # the scope is part of the interface
        return self.value


class Single(Template):
    """One single segment."""

    __slots__ = ("expression",)

    def __init__(self, expression: Expression) -> None:
        self.names, self.expression = expression.names, expression

    def render(self, scope: Scope) -> Any:
        return self.expression.evaluate(scope)


class Joined(Template):
    """Text and segments in turn."""

    __slots__ = ("parts",)

    def __init__(self, parts: tuple[str | Expression, ...]) -> None:
        self.parts = parts
        self.names = frozenset().union(*(part.names for part in parts if isinstance(part, Expression)))

    def render(self, scope: Scope) -> str:
        text = "".join([part if isinstance(part, str) else as_text(part.evaluate(scope)) for part in self.parts])
        if len(text) > MAX_RENDERED:
            raise ExpressionFailed(f"the text has {len(text)} characters, more than {MAX_RENDERED}")
        return text


class Textual(Template):
    """Another template, its result always as text."""

    __slots__ = ("inner",)

    def __init__(self, inner: Template) -> None:
        self.names, self.inner = inner.names, inner

    def render(self, scope: Scope) -> str:
        return as_text(self.inner.render(scope))


class Object(Template):
    __slots__ = ("fields",)

    def __init__(self, fields: dict[str, Template]) -> None:
        self.fields = fields
        self.names = frozenset().union(*(field.names for field in fields.values()))

    def render(self, scope: Scope) -> dict[str, Any]:
        return {key: field.render(scope) for key, field in self.fields.items()}


class Array(Template):
    __slots__ = ("elements",)

    def __init__(self, elements: list[Template]) -> None:
        self.elements = elements
        self.names = frozenset().union(*(element.names for element in elements))

    def render(self, scope: Scope) -> list[Any]:
        return [element.render(scope) for element in self.elements]


def as_text(value: Any) -> str:
    """How a value stands inside a text: text as it is, everything else as compact JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class Segment:
    """One `${{ … }}` of a text: the source inside it and the offset in the text where that begins."""

    source: str
    at: int


def split_text(text: str) -> list[str | Segment]:
    """The constants and segments of a text, in order. Raises TemplateInvalid for a segment without end."""
    parts: list[str | Segment] = []
    literal, at = "", 0
    while (opening := _OPEN.search(text, at)) is not None:
        literal += text[at : opening.start()]
        if opening[0].startswith("$$"):
            literal, at = literal + "${{", opening.end()
            continue
        end = _end(text, opening.end())
        parts += [literal] if literal else []
        parts.append(Segment(text[opening.end() : end], opening.end()))
        literal, at = "", end + 2
    literal += text[at:]
    return [*parts, literal] if literal or not parts else parts


def _end(text: str, start: int) -> int:
    """Where the `}}` is that ends the segment beginning at `start`; quotes and the braces of objects do not end it."""
    depth = 0
    for token in _TOKEN.finditer(text, start):
        if token[0] == "{":
            depth += 1
        elif token[0] == "}" and depth:
            depth -= 1
        elif token[0] == "}" and text.startswith("}}", token.start()):
            return token.start()
    raise _invalid([Problem("", "this ${{ has no }} that ends it; write $${{ for the characters themselves", *line_and_column(text, start - 3))])


def compile_text(text: str, declared: Names | None = None) -> Template:
    """Compile a text; `declared` as for `compile_expression`. Raises TemplateInvalid with every problem."""
    if "${{" not in text:
        return Constant(text)
    return _compile_text(text) if declared is None else _from_parts(text, split_text(text), declared)


@lru_cache(maxsize=2048)
def _compile_text(text: str) -> Template:
    return _from_parts(text, split_text(text), None)


def _from_parts(text: str, parts: list[str | Segment], declared: Names | None) -> Template:
    compiled: list[str | Expression] = []
    problems: list[Problem] = []
    for part in parts:
        if isinstance(part, str):
            compiled.append(part)
            continue
        try:
            compiled.append(compile_expression(part.source, declared))
        except ExpressionInvalid as error:
            problems += [moved(problem, *line_and_column(text, part.at)) for problem in error.problems]
    if problems:
        raise _invalid(problems)
    if len(compiled) == 1:
        return Constant(compiled[0]) if isinstance(compiled[0], str) else Single(compiled[0])
    return Joined(tuple(compiled))


def compile_value(value: Any, declared: Names | None = None) -> Template:
    """Compile JSON whose strings are texts (the keys of objects are not). Raises TemplateInvalid with every problem."""
    problems: list[Problem] = []
    template = _value(value, declared, "", problems)
    if problems:
        raise _invalid(problems)
    return template


def _value(value: Any, declared: Names | None, pointer: str, problems: list[Problem]) -> Template:
    if isinstance(value, str):
        try:
            return compile_text(value, declared)
        except TemplateInvalid as error:
            problems += [Problem(pointer, problem.detail, problem.line, problem.column) for problem in error.problems]
            return Constant(value)
    if isinstance(value, dict):
        return _folded(Object({key: _value(inner, declared, join(pointer, key), problems) for key, inner in value.items()}))
    if isinstance(value, list):
        return _folded(Array([_value(inner, declared, join(pointer, at), problems) for at, inner in enumerate(value)]))
    return Constant(value)


def _folded(template: Object | Array) -> Template:
    """A constant when all parts are."""
    parts = template.fields.values() if isinstance(template, Object) else template.elements
    return Constant(template.render({})) if all(part.constant for part in parts) else template


def moved(problem: Problem, line: int, column: int) -> Problem:
    """A problem whose place counted within a part that begins at (line, column) of the whole."""
    inner_line, inner_column = problem.line or 1, problem.column or 1
    return Problem(problem.pointer, problem.detail, line + inner_line - 1, inner_column + column - 1 if inner_line == 1 else inner_column)


def _invalid(problems: list[Problem]) -> TemplateInvalid:
    return TemplateInvalid(problems[0].detail, problems=problems)
