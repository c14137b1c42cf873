"""Read JSON text with the place of every value. Strict: no duplicate keys, no NaN, nothing behind the end."""

import re
from json.decoder import JSONDecodeError, scanstring  # type: ignore[attr-defined]  # a function of the standard library typeshed omits
from typing import Any

from runtime.definition.marks import Mark
from runtime.definition.pointers import join
from runtime.errors import Problem

_SPACE = re.compile(r"[ \t\r\n]*")
_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(\.\d+)?([eE][-+]?\d+)?", re.ASCII)
_WORDS = {"true": True, "false": False, "null": None}
MAX_DEPTH = 64


class JsonError(ValueError):
    """The text is no JSON; `at` is where."""

    def __init__(self, detail: str, at: int) -> None:
        super().__init__(detail)
        self.at = at


class JsonReader:
    """Reads one text. `problems` are duplicates and depth: things a parser could overlook but we do not (their line holds the offset)."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.problems: list[tuple[Problem, int]] = []

    def read(self) -> tuple[Any, Mark]:
        """The value and its marks. Raises JsonError."""
        value, mark = self._value(self._skip(0), "", 1)
        end = self._skip(mark.end)
        if end < len(self.text):
            raise JsonError("there is something behind the end of the document", end)
        return value, mark

    def _skip(self, at: int) -> int:
        match = _SPACE.match(self.text, at)
        return match.end() if match else at

    def _value(self, at: int, pointer: str, depth: int) -> tuple[Any, Mark]:
        if depth > MAX_DEPTH:
            raise JsonError(f"the document is nested deeper than {MAX_DEPTH} levels", at)
        first = self.text[at : at + 1]
        if first == "{":
            return self._object(at, pointer, depth)
        if first == "[":
            return self._array(at, pointer, depth)
        if first == '"':
            value, end = self._string(at)
            return value, Mark(at, end, style='"')
        return self._scalar(at)

    def _scalar(self, at: int) -> tuple[Any, Mark]:
        for word, value in _WORDS.items():
            if self.text.startswith(word, at):
                return value, Mark(at, at + len(word))
        match = _NUMBER.match(self.text, at)
        if match is None:
            raise JsonError("a value is expected here" if at < len(self.text) else "the document ends too early", at)
        whole = match[1] is None and match[2] is None
        if whole and len(match[0]) > 20:
            raise JsonError("a whole number does not fit 64 bits", at)
        return (int(match[0]) if whole else float(match[0])), Mark(at, match.end())

    def _string(self, at: int) -> tuple[str, int]:
        try:
            value, end = scanstring(self.text, at + 1, True)  # noqa: FBT003  # positional only in C
        except JSONDecodeError as error:
            raise JsonError(error.msg, error.pos) from None
        return str(value), int(end)

    def _object(self, at: int, pointer: str, depth: int) -> tuple[dict[str, Any], Mark]:
        mark = Mark(at)
        found: dict[str, Any] = {}
        at = self._skip(at + 1)
        while not self._ends(at, "}", first=not mark.children):
            key_at = at if not mark.children else self._skip(self._expect(at, ","))
            if self.text[key_at : key_at + 1] != '"':
                raise JsonError("a key in quotes is expected here", key_at)
            key, end = self._string(key_at)
            if key in found:
                self.problems.append((Problem(join(pointer, key), f"the key '{key[:100]}' is there twice"), key_at))
            found[key], inner = self._value(self._skip(self._expect(self._skip(end), ":")), join(pointer, key)[:1000], depth + 1)
            inner.key, mark.children[key] = key_at, inner
            at = self._skip(inner.end)
        mark.end = at + 1
        return found, mark

    def _array(self, at: int, pointer: str, depth: int) -> tuple[list[Any], Mark]:
        mark = Mark(at)
        found: list[Any] = []
        at = self._skip(at + 1)
        while not self._ends(at, "]", first=not found):
            at = at if not found else self._skip(self._expect(at, ","))
            value, inner = self._value(at, join(pointer, len(found))[:1000], depth + 1)
            mark.children[str(len(found))] = inner
            found.append(value)
            at = self._skip(inner.end)
        mark.end = at + 1
        return found, mark

    def _ends(self, at: int, bracket: str, *, first: bool) -> bool:
        following = self.text[at : at + 1]
        if following == bracket:
            return True
        if not first and following != ",":
            raise JsonError(f"',' or '{bracket}' is expected here", at)
        return False

    def _expect(self, at: int, letter: str) -> int:
        if self.text[at : at + 1] != letter:
            raise JsonError(f"'{letter}' is expected here", at)
        return at + 1
