"""Answers in the order in which they are given: to a step, or anew to each item of its map."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from runtime.errors import StepFailed


@dataclass(slots=True)
class Answers:
    """`shared` are given to whoever asks first; with `each` or `items` every item of a map has a list of its own."""

    shared: Sequence[Any] = ()
    each: Sequence[Any] | None = None
    items: Mapping[int, Sequence[Any]] = field(default_factory=dict)
    _given: Counter[int | None] = field(default_factory=Counter)

    @classmethod
    def of(cls, value: Any) -> "Answers":
        """From a list, or from `{each: list}` and `{<index>: list}`. Raises ValueError, a sentence for the author."""
        if isinstance(value, list):
            return cls(shared=value)
        if not isinstance(value, dict) or not value:
            raise ValueError("write a list of answers, or for a map {each: [...]} and {<index>: [...]}")
        lists: dict[str, list[Any]] = {}
        for key, answers in value.items():
            if not isinstance(answers, list) or not (key == "each" or key.isdecimal()):
                raise ValueError(f"'{key[:50]}': write {{each: [...]}} for all items of a map, {{0: [...]}} for the first")
            lists[key] = answers
        return cls(each=lists.pop("each", None), items={int(index): answers for index, answers in lists.items()})

    def fresh(self) -> "Answers":
        """The same answers, none of them given yet."""
        return Answers(self.shared, self.each, self.items)

    def applies(self, index: int | None) -> bool:
        """Whether there is a list for this item; None is a step that is no map."""
        return not self._by_item or self.each is not None or index in self.items

    def take(self, index: int | None, what: str) -> Any:
        """The next answer. Raises StepFailed `script_over`, naming `what` was asked, when none is left."""
        key = index if self._by_item else None
        answers = self._list(index)
        self._given[key] += 1
        if self._given[key] > len(answers):
            raise StepFailed("script_over", f"the script has {len(answers)} answers for {what}, and was asked for one more", retryable=False)
        return answers[self._given[key] - 1]

    def left(self) -> int:
        """So many were not asked for; of `each` those of items that have asked at all."""
        if not self._by_item:
            return max(0, len(self.shared) - self._given[None])
        asked = {*self.items, *(index for index in self._given if index is not None)}
        return sum(max(0, len(self._list(index)) - self._given[index]) for index in asked)

    @property
    def _by_item(self) -> bool:
        return self.each is not None or bool(self.items)

    def _list(self, index: int | None) -> Sequence[Any]:
        if not self._by_item:
            return self.shared
        return (self.items.get(index) if index is not None else None) or self.each or ()
