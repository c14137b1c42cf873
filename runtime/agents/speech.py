"""What the simulated model says in a field: the field's name decides what is taken from the text."""

import hashlib
import re
from functools import lru_cache
from typing import Any

from runtime.agents.digest import Digest, shorten, word_set

TITLES = word_set("title headline heading subject name label")
KEYWORDS = word_set("keyword keywords tag tags topic topics theme themes category categories")
PROSE = word_set("summary abstract text body description content overview brief report answer conclusion message email reply draft markdown")
SCORES = word_set("score relevance confidence importance rating priority weight probability quality rank severity urgency fit strength")
JUDGEMENTS = word_set("relevant ok valid approved sufficient done complete useful accept passed success good enough")
FILES = word_set("file filename source path document")
IDS = word_set("id identifier reference ref code number sku")
GRADES = (("low", "medium", "high"), ("low", "normal", "high"), ("minor", "major", "critical"), ("low", "medium", "high", "critical"))

_FILE = re.compile(r"\b[\w-]{1,100}\.(?:txt|md|csv|json|pdf|html|yaml)\b")
_ID = re.compile(r"\b[A-Z]{1,6}-?\d{2,12}\b")


@lru_cache(maxsize=4096)
def tokens(name: str) -> frozenset[str]:
    """The words of a field's name: `keyPoints`, `key_points` and `key-points` are the same."""
    return frozenset(re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower().replace("-", "_").split("_"))


class Speech:
    """Answers about one text. `seed` varies what the text does not decide."""

    def __init__(self, digest: Digest, seed: int) -> None:
        self._digest = digest
        self._seed = seed
        self._used: set[str] = set()

    @property
    def all_text(self) -> str:
        return self._digest.text

    def text(self, name: str, place: int | None) -> str:
        """A text for the field `name`; `place` is its position in a list, None outside of one."""
        kind, digest = tokens(name), self._digest
        given = digest.labelled(name) if name and place is None else None
        if isinstance(given, str | int | float) and not isinstance(given, bool):
            return str(given)
        if kind & TITLES:
            return digest.title if place is None else shorten(self.sentence(place), 60)
        if kind & KEYWORDS:
            return self._cycled(digest.keywords, place or 0)
        return self._found(name, kind, place or 0) or (digest.summary(3) if kind & PROSE and place is None else "") or self.sentence(place)

    def _found(self, name: str, kind: frozenset[str], place: int) -> str | None:
        """A file's name or an identifier, when the field is for one."""
        if kind & FILES and (files := _FILE.findall(self._digest.text)):
            return self._cycled(list(dict.fromkeys(files)), place)
        if not kind & IDS:
            return None
        return self._cycled(list(dict.fromkeys(_ID.findall(self._digest.text))) or [f"SIM-{self.number_for(name) % 10_000:04d}"], place)

    def sentence(self, place: int | None) -> str:
        """The best sentence for this place; without one, the best that no other field says."""
        if place is None:
            place = next((at for at, sentence in enumerate(self._digest.ranked) if sentence not in self._used), 0)
        text = self._cycled(self._digest.ranked, place)
        self._used.add(text)
        return text

    def _cycled(self, choices: list[str], place: int) -> str:
        choices = choices or ["nothing"]
        text = choices[place % len(choices)]
        return text if place < len(choices) else f"{text} ({place // len(choices) + 1})"

    def fraction(self, name: str) -> float:
        """From 0 to 1, for something that is measured: how relevant the text is, told apart a little by the name."""
        return min(1.0, max(0.0, self._digest.relevance() + (self.number_for(name) % 7 - 3) / 100))

    def number(self, name: str, low: float, high: float) -> float:
        """A number for the field `name`, as a rule within the bounds: given, measured, or found in the text."""
        given = self._given_number(name)
        if given is not None:
            return given
        if tokens(name) & SCORES:
            return low + self.fraction(name) * (high - low)
        found = [number for number in self._digest.numbers if low <= number <= high]
        if "year" in tokens(name):
            found = [number for number in found if 1000 <= number < 3000] or found
        return found[0] if found else low

    def _given_number(self, name: str) -> float | None:
        given = self._digest.labelled(name) if name else None
        if isinstance(given, str):
            found = re.search(r"-?\d{1,15}(?:\.\d{1,9})?", given)
            return float(found[0]) if found else None
        return float(given) if isinstance(given, int | float) and not isinstance(given, bool) else None

    def truth(self, name: str) -> bool:
        """True when the text gives it so, or speaks of it; judgements follow the text's relevance."""
        given = self._digest.labelled(name) if name else None
        if given is not None:
            return str(given).strip(" .!").lower() in ("true", "yes", "1", "y")
        if tokens(name) & JUDGEMENTS:
            return self._digest.relevance() >= 0.4
        return any(word in self._digest.counts for word in tokens(name) if len(word) > 3)

    def choice(self, name: str, options: list[Any]) -> int:
        """The position of one of `options`: the one the text gives or mentions most, a grade by relevance, else one by chance."""
        given = self._digest.labelled(name) if name else None
        if given is not None and given in options:
            return options.index(given)
        if tuple(options) in GRADES or tuple(options)[::-1] in GRADES:
            place = min(len(options) - 1, int(self.fraction(name) * len(options)))
            return place if tuple(options) in GRADES else len(options) - 1 - place
        mentions = [sum(self._digest.counts[word] for word in tokens(option)) if isinstance(option, str) else 0 for option in options]
        return mentions.index(max(mentions)) if any(mentions) else self.number_for(name) % len(options)

    def number_for(self, name: str) -> int:
        """A number that depends on the text, the name and the seed alone."""
        return int.from_bytes(hashlib.blake2b(f"{self._seed}\0{name}\0{self._digest.text[:2000]}".encode("utf-8", "replace"), digest_size=6).digest())
