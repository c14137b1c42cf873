"""Collects everything that is wrong with a document; each problem gets its line and column at the end."""

from collections.abc import Iterable

from runtime.definition.marks import Marks
from runtime.errors import DefinitionInvalid, Problem

MAX_PROBLEMS = 200


class Findings:
    def __init__(self, marks: Marks) -> None:
        self._marks = marks
        self._found: dict[tuple[str, str], Problem] = {}

    def add(self, pointer: str, detail: str, *, at_key: bool = False) -> None:
        """A problem of the value at `pointer`, or of its key."""
        place = self._marks.key(pointer) if at_key else self._marks.value(pointer)
        self._found.setdefault((pointer, detail), Problem(pointer, detail, *place))

    def add_within(self, pointer: str, text: str, problems: Iterable[Problem]) -> None:
        """Problems whose lines and columns count within `text`, the value at `pointer`."""
        for problem in problems:
            place = self._marks.within(pointer, problem.line or 1, problem.column or 1, text)
            self._found.setdefault((pointer, problem.detail), Problem(pointer, problem.detail, *place))

    def raise_if_any(self) -> None:
        """Raises DefinitionInvalid with all problems, in the order of the document."""
        if not self._found:
            return
        problems = sorted(self._found.values(), key=lambda problem: (problem.line or 0, problem.column or 0))[:MAX_PROBLEMS]
        first, count = problems[0], len(self._found)
        where = f"line {first.line}: " if first.line else f"{first.pointer}: " if first.pointer else ""
        raise DefinitionInvalid(f"{where}{first.detail}{f' (and {count - 1} more problems)' if count > 1 else ''}", problems=problems)
