"""The last line before a secret leaves this process in words: texts about what happened pass here, and what is known to be secret goes out of them.

Nothing relies on it. Secrets are kept out of messages where those are made; this is for the exception of a library, the answer of a
server, the line of somebody else's logger that repeats one all the same. Each process knows the secrets it holds itself. A cassette has a
redactor of its own (runtime/simulation/redaction.py).
"""

import base64
import html
import json
import re
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from threading import Lock
from typing import Any
from urllib.parse import quote, quote_plus, unquote, urlsplit

MARK = "***"
LEAST = 8
"""Characters of a secret. Taking out shorter ones would take words out of sentences."""
LEAST_IN_VALUES = 16
"""Likewise, where the text is a value that goes on to somebody: a password that is a word must not take that word out of answers."""
CUT = 3 * LEAST
"""Characters from which also a half of a secret is one."""
MOST = 512
"""Secrets that are known at a time; the one that was named longest ago is forgotten first. Every message is searched for all of them."""

Patterns = Sequence[tuple[re.Pattern[str], str]]
"""What gives a secret away that nobody knows, and what is put in its place."""

OURS: Patterns = (
    # Our own tokens, whoever they belong to: their form alone gives them away (runtime/tokens.py, runtime/signatures.py).
    (re.compile(r"\b(ak|st|hk)_([0-9a-f]{16})_[0-9a-f]{8,72}"), rf"\1_\2_{MARK}"),
    (re.compile(r"\bwhsec_[A-Za-z0-9+/_=-]{8,}"), f"whsec_{MARK}"),
    (re.compile(r"(?i)\b((?:bearer|basic)\s+)[A-Za-z0-9._~+/=-]{8,}"), rf"\1{MARK}"),
    (re.compile(r"(://[^\s/:@'\"]*:)[^\s/@'\"]+@"), rf"\1{MARK}@"),
)


class Redactor:
    """The secrets of one process, or of one cassette, and how to take them out of a text."""

    def __init__(self, *, most: int | None = MOST, patterns: Patterns = OURS) -> None:
        """`most`: secrets that are known at a time; None: all that were named, for who has read them from something that ends."""
        self._most, self._patterns = most, patterns
        self._known: OrderedDict[str, tuple[str, ...]] = OrderedDict()
        """Secret → how it is written, in full; the one named last at the end."""
        self._searched: tuple[tuple[str, tuple[str, ...]], ...] = ()
        """The same, for threads that write a line while another names a secret; the longest first, because another may be a part of it."""
        self._written: tuple[object, dict[str, list[str]]] = (None, {})
        """`_searched` as it was when this was listed: all that is looked for in values, by its first character."""
        self._lock = Lock()

    def know(self, *secrets: str | None) -> None:
        """These are secrets. Said again, they count as new."""
        with self._lock:
            new = [self._note(secret) for secret in secrets if secret is not None and len(secret) >= LEAST]
            if any(new):
                self._searched = tuple(sorted(self._known.items(), key=lambda entry: len(entry[0]), reverse=True))

    def _note(self, secret: str) -> bool:
        """Whether it is new."""
        if secret in self._known:
            self._known.move_to_end(secret)
            return False
        self._known[secret] = _forms(secret)
        if self._most is not None and len(self._known) > self._most:
            self._known.popitem(last=False)
        return True

    def known(self, text: str) -> str:
        """`text` without the secrets of this process, however they are written in it. For values: what only looks like a secret stays."""
        return self._without(text, [entry for entry in self._searched if len(entry[0]) >= LEAST_IN_VALUES])

    def _without(self, text: str, searched: Sequence[tuple[str, tuple[str, ...]]]) -> str:
        for _, forms in searched:
            for form in forms:
                if form in text:
                    text = text.replace(form, MARK)
        for secret, _ in searched:  # afterwards: what is left of them, where somebody has cut a text before it came here
            for half in _halves(secret):
                if half in text:
                    text = text.replace(half, MARK)
        return text

    def value(self, value: Any, written: str) -> Any:
        """A JSON value without the secrets of this process; `written` is the same as JSON text, where they are looked for."""
        return value if self.known(written) == written else in_texts(value, self.known)

    def passing(self) -> "Passing":
        """For a value that comes in pieces."""
        return Passing(self)

    def settled(self, text: str) -> int:
        """How much of a text that goes on holds nothing that is, or may become, a part of a secret of which the rest lies behind it."""
        written = self._by_first()
        least = max(0, len(text) - max((len(form) for forms in written.values() for form in forms), default=0))
        end = next((at for at in range(least, len(text)) if any(form.startswith(text[at:]) for form in written.get(text[at], ()))), len(text))
        if end < len(text) and self.known(text) != text:
            whole = sorted(span for forms in written.values() for form in forms for span in _spans(form, text))
            while (earlier := next((begin for begin, over in whole if begin < end < over), end)) < end:
                end = earlier
        return end

    def _by_first(self) -> dict[str, list[str]]:
        searched, (listed, found) = self._searched, self._written
        if listed is not searched:
            found = {}
            for secret, forms in searched:
                for form in (*forms, *_halves(secret)) if len(secret) >= LEAST_IN_VALUES else ():
                    found.setdefault(form[0], []).append(form)
            self._written = searched, found
        return found

    def __call__(self, text: str) -> str:
        """`text` without secrets, and without what has their form. For messages."""
        text = self._without(text, self._searched)
        for pattern, instead in self._patterns:
            text = pattern.sub(instead, text)
        return text


class Passing:
    """Takes secrets out of a value that comes in pieces: what may be the beginning of one waits for what comes after it."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._held = ""

    def take(self, piece: str) -> str:
        """What can be passed on once this piece has come."""
        text = self._held + piece
        end = self._redactor.settled(text)
        self._held = text[end:]
        return self._redactor.known(text[:end])

    def end(self) -> str:
        """What is left when no more comes."""
        text, self._held = self._held, ""
        return self._redactor.known(text)


redact = Redactor()
"""Of this process. It is one for all on purpose, like the log it guards: whoever opens a secret says so here."""


def in_texts(value: Any, clean: Callable[[str], str]) -> Any:
    """A JSON value with every text in it, names too, as `clean` returns it."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, list):
        return [in_texts(part, clean) for part in value]
    if isinstance(value, dict):
        return {clean(name): in_texts(part, clean) for name, part in value.items()}
    return value


def secrets_in(url: str) -> tuple[str, ...]:
    """What stands before the host of a URL and is nobody's business: the password, as it is written there and as it is meant.

    Of an HTTP server also the user, when there is no password: some take a key in its place.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        return ()
    found = parts.password or (parts.username if parts.scheme in ("http", "https") else None)
    return () if found is None else (found, unquote(found))


def _halves(secret: str) -> tuple[str, ...]:
    middle = len(secret) // 2
    return (secret[:middle], secret[middle:]) if len(secret) >= CUT else ()


def _spans(form: str, text: str) -> Iterable[tuple[int, int]]:
    """Where `form` stands in `text`, overlaps included."""
    at = text.find(form)
    while at >= 0:
        yield at, at + len(form)
        at = text.find(form, at + 1)


def _forms(secret: str) -> tuple[str, ...]:
    """The ways in which a secret is written in messages, the longest first: a shorter one may be a part of it."""
    data = secret.encode()
    written = {secret, html.escape(secret), repr(secret)[1:-1], json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]}
    written |= {json.dumps(form)[1:-1] for form in written}  # what is in a text that is in a line of JSON
    written |= {form.replace("/", "\\/") for form in written}
    written |= {quote(secret, safe=""), quote_plus(secret), data.hex(), data.hex().upper(), *_base64(data)}
    return tuple(sorted((form for form in written if len(form) >= LEAST), key=len, reverse=True))


def _base64(data: bytes) -> Iterable[str]:
    """What is always the same of the base64 of a text that holds `data`, at each of the three places it may begin at."""
    for offset in range(3):
        whole = base64.b64encode(bytes(offset) + data).decode()
        begin, end = (0, 2, 3)[offset], (offset + len(data)) * 8 // 6
        core = whole[begin:end]
        yield core
        yield core.replace("+", "-").replace("/", "_")
