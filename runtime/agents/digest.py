"""What a text is about, by counting words: its best sentences, its title, its key words. Deterministic, and cheap enough for ten thousand texts."""

import json
import re
from collections import Counter
from functools import cached_property, lru_cache
from typing import Any

MAX_READ = 200_000
"""Characters of a prompt that are read."""
MAX_TEXT = 20_000
"""Characters of what it says that are weighed."""
MAX_SENTENCES = 400
MAX_JSON = 20
"""Places in a text where JSON is looked for."""
MARK = "[simulated] "
"""What every text of the simulated model begins with."""

_WORD = re.compile(r"[^\W\d_][\w'-]{2,}")
_SENTENCE = re.compile(r"(?<=[.!?])[\"')\]]*\s+(?=[\"'(\[]?[A-Z0-9À-Þ])|\n\s*\n|\n(?=\s*[-*#•\d])")
_TOPIC = re.compile(r"\b(?:topic|subject|theme)\s*(?:is\s*)?[:=]\s*([^\n]{3,300})", re.IGNORECASE)
_LEANING = re.compile(r"(?:That|This|These|Those|It|Its|They|He|She|His|Her|But|And|Or|So|Then|There|Both|Such|Not|None)\b")
"""How sentences begin that lean on the one before and so make poor extracts."""
_LABEL = re.compile(r"^[#*\s-]*(?:title|subject|headline|name)\s*:\s*", re.IGNORECASE)
_JSON = re.compile(r"(?:^|[\s:=])([\[{])")
_DECODER = json.JSONDecoder()
_NUMBER = re.compile(r"(?<![\w.-])-?\d+(?:\.\d+)?")


def word_set(text: str) -> frozenset[str]:
    """The words of `text`, for short lists of words in code."""
    return frozenset(text.split())


STOP = word_set(
    "about above after again against all also among and any are because been before being below between both but can could did does doing down during "
    "each few for from further had has have having her here hers him his how into its itself just like made make many may more most much must nor not "
    "now off once only other our out over own per same she should since some such than that the their them then there these they this those through "
    "too two under until upon use used using very was way well were what when where which while who whom why will with within without would yet you "
    "your one every still even"
)


@lru_cache(maxsize=20_000)
def stem(word: str) -> str:
    """What a word shares with its other forms: `leak`, `leaks`, `leaking`; rough, and only ever compared with others of its kind."""
    for ending in ("ing", "ed", "es", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 4 and not word.endswith("ss"):
            word = word[: -len(ending)]
            break
    return word[:7]


def words_of(text: str) -> list[str]:
    """The words that carry meaning, in lower case."""
    return [word for word in _WORD.findall(text.lower()) if word not in STOP]


class Digest:
    """A text, read once; everything else is worked out when it is asked for."""

    def __init__(self, text: str, *, topic: str = "") -> None:
        whole, self._facts = read(text[:MAX_READ])
        self.text = whole[:MAX_TEXT]
        named = _TOPIC.search(topic)
        self.subject = named[1].strip(" .") if named else ""
        """The topic when the instructions name one outright, as `topic: …`."""
        self._topic = frozenset(map(stem, words_of(self.subject or topic[:MAX_TEXT])))

    @cached_property
    def sentences(self) -> list[str]:
        """In their order, white space made single, headings left out when there is anything else."""
        found = [" ".join(part.split()).lstrip("#*-•> ").strip() for part in _SENTENCE.split(self.text)[:MAX_SENTENCES]]
        whole = [part for part in found if len(part) > 20 and part[-1] in ".!?\"')"]
        return whole or [part for part in found if part]

    @cached_property
    def counts(self) -> Counter[str]:
        return Counter(words_of(self.text))

    @cached_property
    def stems(self) -> Counter[str]:
        stems: Counter[str] = Counter()
        for word, count in self.counts.items():
            stems[stem(word)] += count
        return stems

    @cached_property
    def ranked(self) -> list[str]:
        """The sentences, the most telling first: many frequent words, words of the topic, early ones before late ones."""
        scored = []
        for place, sentence in enumerate(dict.fromkeys(self.sentences)):
            words = frozenset(map(stem, words_of(sentence)))
            weight = sum(self.stems[word] for word in words) + 6 * len(words & self._topic) + 3 * bool(_NUMBER.search(sentence))
            share = 0.5 if _LEANING.match(sentence) else 1.0
            scored.append((-share * weight / (10 + len(words)) - 0.3 / (1 + place), place, sentence))
        return [sentence for _, _, sentence in sorted(scored)]

    @cached_property
    def keywords(self) -> list[str]:
        """The most frequent words, then the longer ones."""
        return [word for word, _ in sorted(self.counts.items(), key=lambda pair: (-pair[1], -len(pair[0]), pair[0]))[:50]]

    @cached_property
    def title(self) -> str:
        """The first line when it looks like a title, else the topic, else the beginning of the best sentence."""
        first = _LABEL.sub("", next((line for line in self.text.splitlines() if line.strip()), "")).strip("# *")
        if 0 < len(first) <= 90 and first[-1] not in ".;,:":
            return first
        if self.subject:
            return shorten(self.subject[0].upper() + self.subject[1:], 90)
        return shorten(self.ranked[0] if self.ranked else first, 70)

    @cached_property
    def numbers(self) -> list[float]:
        return [float(number) for number in _NUMBER.findall(self.text)[:200] if len(number) < 16]

    def labelled(self, name: str) -> Any:
        """What the text itself gives for a field of this name, as `name: value` on a line or as a key in JSON; None when it does not."""
        if (fact := self._facts.get(name.lower())) is not None:
            return fact
        label = r"[ _-]?".join(map(re.escape, name.lower().split("_")))
        found = re.search(rf"^[ \t*#-]*{label}[ \t*]*[:=][ \t*]*(\S[^\n]*)$", self.text, re.IGNORECASE | re.MULTILINE)
        return shorten(found[1].strip(), 2_000) if found else None

    def summary(self, sentences: int) -> str:
        """The best sentences, in the order of the text."""
        chosen = set(self.ranked[:sentences])
        return " ".join(dict.fromkeys(sentence for sentence in self.sentences if sentence in chosen))

    def relevance(self) -> float:
        """From 0 to 1: how much of the topic the text speaks of and how often, with a little for figures; 0.5 without a topic."""
        if not self._topic:
            return 0.5
        said = sum(min(self.stems[word], 5) for word in self._topic) / (5 * len(self._topic))
        touched = sum(word in self.stems for word in self._topic) / len(self._topic)
        measured = min(1.0, 0.6 * said + 0.35 * touched + 0.01 * min(len(self.numbers), 10))
        # Instructions that name no topic are full of words that a good text need not have.
        return measured if self.subject else 0.5 + measured / 2


def read(text: str) -> tuple[str, dict[str, Any]]:
    """`text` with the JSON within turned into its texts, so that a prompt made of data reads like prose, and the single values by key."""
    facts: dict[str, Any] = {}
    parts: list[str] = []
    start = tries = 0
    while (match := _JSON.search(text, start)) and tries < MAX_JSON:
        tries += 1
        try:
            value, end = _DECODER.raw_decode(text, match.start(1))
        except (ValueError, RecursionError):
            end, value = match.end(), None
        parts.append(text[start : end if value is None else match.start(1)])
        if value is not None:
            parts += ["\n\n", "\n\n".join(_texts(value, facts)), "\n\n"]
        start = end
    parts.append(text[start:])
    return "".join(parts).replace(MARK, ""), facts


def _texts(value: Any, facts: dict[str, Any], key: str = "") -> list[str]:
    if isinstance(value, dict):
        return [text for name, part in value.items() for text in _texts(part, facts, name)]
    if isinstance(value, list):  # what stands in a list is one of many, not the value of its key
        return [text for part in value for text in _texts(part, {})]
    if key and value is not None:
        facts.setdefault(key.lower(), value)
    return [value] if isinstance(value, str) else [str(value)] if isinstance(value, int | float) and not isinstance(value, bool) else []


def shorten(text: str, limit: int) -> str:
    """At most `limit` characters, cut between words where possible."""
    if len(text) <= limit:
        return text
    cut = text[: max(0, limit - 1)]
    return (cut.rpartition(" ")[0] or cut).rstrip(" ,;:-") + "…" if limit > 0 else ""
