"""Where everything in a document stands, so that a problem can name line and column."""

from dataclasses import dataclass, field

from runtime.definition.pointers import split

_BLOCKS = ("|", ">")
_ESCAPE_LENGTH = {"x": 4, "u": 6, "U": 10}


@dataclass(slots=True)
class Mark:
    """One value: where it and its key begin (offsets of characters), how it is written (`"`, `'`, `|`, `>` or plain) and what is in it."""

    start: int
    end: int = 0
    key: int | None = None
    style: str = ""
    children: dict[str, "Mark"] = field(default_factory=dict)


@dataclass(slots=True)
class Marks:
    """The marks of one document. Lines and columns count from 1, columns in characters."""

    source: str = ""
    root: Mark | None = None

    def value(self, pointer: str) -> tuple[int, int] | tuple[None, None]:
        """Where the value at `pointer` begins, or the nearest thing around it that exists; nothing when the document had no text."""
        found = self._find(pointer)
        return (None, None) if found is None else self._place(found[0].start)

    def key(self, pointer: str) -> tuple[int, int] | tuple[None, None]:
        """Where the key of the value at `pointer` begins; where the value does when it has none."""
        found = self._find(pointer)
        if found is None:
            return None, None
        mark, exact = found
        return self._place(mark.key if exact and mark.key is not None else mark.start)

    def within(self, pointer: str, line: int, column: int, text: str) -> tuple[int, int] | tuple[None, None]:
        """Where (line, column) of the text at `pointer` stands in the document."""
        found = self._find(pointer)
        if found is None:
            return None, None
        mark, exact = found
        if not exact:
            return self._place(mark.start)
        offset = sum(len(part) + 1 for part in text.split("\n")[: line - 1]) + column - 1
        return self._place(_written(self.source[mark.start : mark.end], mark.style, text[:offset]) + mark.start)

    def _find(self, pointer: str) -> tuple[Mark, bool] | None:
        mark, exact = self.root, True
        if mark is None:
            return None
        for step in split(pointer):
            inner = mark.children.get(step)
            if inner is None:
                return mark, False
            mark = inner
        return mark, exact

    def _place(self, offset: int) -> tuple[int, int]:
        start = self.source.rfind("\n", 0, offset) + 1
        return self.source.count("\n", 0, offset) + 1, offset - start + 1


def _written(raw: str, style: str, text: str) -> int:
    """How many characters of `raw`, a value as it is written, stand before the end of `text`, the beginning of what it means."""
    at, indent = _begin(raw, style)
    for letter in text:
        if at >= len(raw):
            break
        if style == '"' and raw[at] == "\\":
            at += _ESCAPE_LENGTH.get(raw[at + 1 : at + 2], 2)
        elif style == "'" and raw[at : at + 2] == "''":
            at += 2
        elif raw[at] == letter and letter != "\n":
            at += 1
        elif raw[at] in " \t\r\n":
            at = _next_line(raw, at, style, indent)
        elif letter not in " \n":
            at += 1
    return min(at, len(raw))


def _begin(raw: str, style: str) -> tuple[int, int]:
    """Where the text of a value begins behind its quote or block header, and how far its lines are indented."""
    if style not in _BLOCKS:
        return len(style), 0
    body = raw.find("\n") + 1
    lines = raw[body:].split("\n")
    indent = next((len(line) - len(line.lstrip(" ")) for line in lines if line.strip()), 0)
    return body + (indent if lines[0].strip() else 0), indent


def _next_line(raw: str, at: int, style: str, indent: int) -> int:
    """Behind the line break (or the fold of several) that begins at `at`, and behind the indentation that follows it."""
    if style not in _BLOCKS:
        return at + len(raw[at:]) - len(raw[at:].lstrip(" \t\r\n"))
    at = raw.find("\n", at) + 1 or len(raw)
    while style == ">" and raw[at : at + 1] == "\n":
        at += 1
    return at + min(indent, len(raw[at:]) - len(raw[at:].lstrip(" ")))
