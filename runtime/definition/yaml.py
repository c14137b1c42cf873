"""Read a document: JSON or YAML, safely, with the place of every value.

YAML here is the core of YAML 1.2: `no` and `012` are not what YAML 1.1 made of them. Refused: anchors and aliases (a 200-byte document can
stand for gigabytes), tags, duplicate keys, more than one document, values JSON does not have.
"""

import re
from dataclasses import dataclass
from typing import Any

import yaml
from yaml import events

from runtime.definition.jsontext import JsonError, JsonReader
from runtime.definition.jsonvalue import MAX_DEPTH, check_json
from runtime.definition.marks import Mark, Marks
from runtime.definition.pointers import join
from runtime.errors import DefinitionInvalid, Problem

MAX_BYTES = 2**20

_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_JSON = re.compile(r"\s*[{\[]\s*[\"{}\[\]]")
"""How a text begins that cannot be meant as YAML."""
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", re.ASCII)
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", re.ASCII)
_NO_NUMBER = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_PLACE = re.compile(r"position (\d+)")


def read(text: str | bytes, limit: int = MAX_BYTES) -> tuple[Any, Marks]:
    """The JSON value of a document of at most `limit` bytes and where everything in it stands. Raises DefinitionInvalid, never anything else."""
    source = _decoded(text, limit)
    first = source.lstrip(" \t\r\n")[:1]
    if not first:
        raise _invalid("the document is empty", 1, 1)
    value, marks = _json(source) if first in "{[" else _yaml(source)
    problems = [Problem(problem.pointer, problem.detail, *marks.value(problem.pointer)) for problem in check_json(value)]
    if problems:
        raise DefinitionInvalid(problems[0].detail, problems=problems)
    return value, marks


def _decoded(text: str | bytes, limit: int) -> str:
    try:
        data = text.encode() if isinstance(text, str) else text
        if len(data) > limit:
            raise _invalid(f"the document has {len(data)} bytes, more than {limit}")
        return data.decode("utf-8-sig")
    except UnicodeError as error:
        place = _PLACE.search(str(error))
        raise _invalid(f"the document is not UTF-8 text{f' (byte {place[1]})' if place else ''}") from None


def _json(source: str) -> tuple[Any, Marks]:
    reader = JsonReader(source)
    try:
        value, root = reader.read()
    except JsonError as error:
        if not _JSON.match(source):
            return _yaml(source)  # `{a: b}` is YAML
        raise _invalid(f"this is no JSON: {error}", *Marks(source, Mark(error.at)).value("")) from None
    marks = Marks(source, root)
    if reader.problems:
        found = [Problem(problem.pointer, problem.detail, *Marks(source, Mark(at)).value("")) for problem, at in reader.problems]
        raise DefinitionInvalid(found[0].detail, problems=found)
    return value, marks


def _yaml(source: str) -> tuple[Any, Marks]:
    reader = _Reader(source)
    try:
        for event in yaml.parse(source, Loader=yaml.CSafeLoader):
            reader.take(event)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        detail = " ".join(part for part in (error.context, error.problem) if part)
        raise _invalid(f"this is no YAML: {detail[:300]}", mark.line + 1 if mark else None, mark.column + 1 if mark else None) from None
    except yaml.YAMLError as error:
        raise _invalid(f"this is no YAML: {' '.join(str(error).split())[:300]}") from None
    if reader.problems:
        raise DefinitionInvalid(reader.problems[0].detail, problems=reader.problems)
    return reader.value, Marks(source, reader.root)


@dataclass(slots=True)
class _Open:
    """A mapping or sequence whose end has not come yet."""

    value: dict[str, Any] | list[Any]
    mark: Mark
    pointer: str
    key: str | None = None
    key_at: int | None = None


class _Reader:
    """Builds the value from the parser's events, so that nothing is ever built that is then refused."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.problems: list[Problem] = []
        self.value: Any = None
        self.root: Mark | None = None
        self._open: list[_Open] = []
        self._documents = 0

    def take(self, event: Any) -> None:
        if isinstance(event, events.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                raise self._stop(event, "there is more than one document; write one")
        elif isinstance(event, events.AliasEvent):
            raise self._stop(event, "anchors and aliases (& and *) are not allowed; write the value itself")
        elif isinstance(event, events.NodeEvent):
            self._node(event)
        elif isinstance(event, events.CollectionEndEvent):
            closed = self._open.pop()
            end: Any = event.end_mark
            closed.mark.end = end.index
            self._put(closed.value, closed.mark)

    def _node(self, event: Any) -> None:
        if event.anchor is not None:
            raise self._stop(event, "anchors and aliases (& and *) are not allowed; write the value itself")
        if event.tag is not None:
            raise self._stop(event, f"tags ({event.tag[:100]}) are not allowed")
        if isinstance(event, events.ScalarEvent):
            self._scalar(event)
            return
        if self._open and isinstance(self._open[-1].value, dict) and self._open[-1].key is None:
            raise self._stop(event, "a key must be text")
        if len(self._open) >= MAX_DEPTH:
            raise self._stop(event, f"the document is nested deeper than {MAX_DEPTH} levels")
        value: dict[str, Any] | list[Any] = {} if isinstance(event, events.MappingStartEvent) else []
        self._open.append(_Open(value, Mark(event.start_mark.index), self._pointer()))

    def _pointer(self) -> str:
        """Of the value that comes next."""
        if not self._open:
            return ""
        top = self._open[-1]
        return join(top.pointer, top.key if top.key is not None else len(top.value))[:1000]

    def _scalar(self, event: Any) -> None:
        top = self._open[-1] if self._open else None
        style = event.style or ""
        if top is not None and isinstance(top.value, dict) and top.key is None:
            self._key(top, event)
            return
        value = event.value if style or not event.implicit[0] else self._plain(event)
        self._put(value, Mark(event.start_mark.index, event.end_mark.index, style=style))

    def _key(self, top: _Open, event: Any) -> None:
        key = event.value
        if key == "<<" and not event.style:
            raise self._stop(event, "merge keys (<<) are not allowed")
        if key in top.value:
            self.problems.append(
                Problem(join(top.pointer, key), f"the key '{key[:100]}' is there twice", event.start_mark.line + 1, event.start_mark.column + 1)
            )
        top.key, top.key_at = key, event.start_mark.index

    def _put(self, value: Any, mark: Mark) -> None:
        if not self._open:
            self.value, self.root = value, mark
            return
        top = self._open[-1]
        if isinstance(top.value, list):
            top.mark.children[str(len(top.value))] = mark
            top.value.append(value)
        elif top.key is not None:
            mark.key = top.key_at
            top.mark.children[top.key] = mark
            top.value[top.key] = value
            top.key = None

    def _plain(self, event: Any) -> Any:
        """What an unquoted scalar means in the core schema of YAML 1.2."""
        text = event.value
        if text in _WORDS:
            return _WORDS[text]
        if _NO_NUMBER.fullmatch(text):
            raise self._stop(event, "a number must be finite: NaN and infinity are no JSON")
        if _INT.fullmatch(text):
            if len(text) > 20:
                raise self._stop(event, "a whole number does not fit 64 bits")
            return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))
        return float(text) if _FLOAT.fullmatch(text) else text

    def _stop(self, event: Any, detail: str) -> DefinitionInvalid:
        mark = event.start_mark
        found = Problem(self._pointer(), detail, mark.line + 1, mark.column + 1)
        return DefinitionInvalid(detail, problems=[*self.problems, found])


def _invalid(detail: str, line: int | None = None, column: int | None = None) -> DefinitionInvalid:
    return DefinitionInvalid(detail, problems=[Problem("", detail, line, column)])
