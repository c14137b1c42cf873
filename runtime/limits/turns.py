"""Whose turn it is: runs that wait are served one after the other, however much each of them wants."""

from collections import OrderedDict
from collections.abc import Container
from dataclasses import dataclass

from runtime.limits.messages import Ask

Id = tuple[str, int]
"""Holder, and number of the ask."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """An ask and who holds it."""

    id: Id
    ask: Ask


class Turns:
    """Asks by run and model. Within one run the first comes first; between runs whoever was served longest ago."""

    def __init__(self) -> None:
        self._lines: OrderedDict[tuple[str, str], OrderedDict[Id, Waiting]] = OrderedDict()
        self._by_id: dict[Id, tuple[str, str]] = {}
        self._models: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    @property
    def models(self) -> list[str]:
        """Those that are waited for."""
        return list(self._models)

    def count(self, model: str) -> int:
        """Asks that wait for this model."""
        return self._models.get(model, 0)

    def add(self, waiting: Waiting) -> None:
        """It waits from now on. Nothing happens when it does already."""
        if waiting.id in self._by_id:
            return
        line = self._by_id[waiting.id] = (waiting.ask.run, waiting.ask.spot.model)
        self._lines.setdefault(line, OrderedDict())[waiting.id] = waiting
        self._models[line[1]] = self._models.get(line[1], 0) + 1

    def remove(self, ask: Id) -> None:
        """It waits no more."""
        line = self._by_id.pop(ask, None)
        if line is None:
            return
        del self._lines[line][ask]
        if not self._lines[line]:
            del self._lines[line]
        self._models[line[1]] -= 1
        if not self._models[line[1]]:
            del self._models[line[1]]

    def next(self, models: Container[str]) -> Waiting | None:
        """The next ask for one of these models, which waits no more then."""
        line = next((line for line in self._lines if line[1] in models), None)
        if line is None:
            return None
        waiting = next(iter(self._lines[line].values()))
        self._lines.move_to_end(line)
        self.remove(waiting.id)
        return waiting
