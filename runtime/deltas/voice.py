"""The speaking end: pieces of text become deltas with a running offset."""

from runtime.deltas.delta import Delta, Sink
from runtime.redaction import redact

PIECE = 16 * 1024
"""Characters of one delta; longer texts go in several."""


class Speaker:
    """One attempt of one step, or of one item of its map, whose model calls are heard."""

    def __init__(self, sink: Sink, run_id: str, step: str, index: int | None, attempt: int) -> None:
        self._sink = sink
        self._run_id, self._step, self._index, self._attempt = run_id, step, index, attempt

    @property
    def followed(self) -> bool:
        """Whether anybody listens at present."""
        return self._sink.followed(self._run_id)

    def voice(self, call: int, *, json: bool) -> "Voice":
        """For the text of this call, from its beginning."""
        return Voice(self._sink, Delta(self._run_id, self._step, self._index, self._attempt, call, 0, "", json=json))


class Voice:
    """The text of one request to a model. After `end` it says no more; `drop` may follow even then."""

    def __init__(self, sink: Sink, first: Delta) -> None:
        self._sink, self._first = sink, first
        self._offset = 0
        self._held = ""
        self._clean = redact.passing()

    def say(self, text: str) -> None:
        """The text goes on like this.

        Half of a surrogate pair waits for the other half: the journal's text has them as one character. So does what may be the beginning of
        a secret: neither the journal nor a reader gets those.
        """
        text, self._held = self._held + text, ""
        if text and "\ud800" <= text[-1] <= "\udbff":
            text, self._held = text[:-1], text[-1]
        text = text if text.isascii() else text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        self._pass_on(self._clean.take(text))

    def end(self) -> None:
        """The model says no more."""
        half, self._held = self._held, ""
        self._pass_on(self._clean.take("\ufffd" if half else "") + self._clean.end())
        if self._offset:
            self._mark(ended=True)

    def drop(self, because: str) -> None:
        """What was said is void, as far as anything was; `because`: an error's code."""
        if self._offset:
            self._mark(dropped=because)
            self._offset = 0

    def _pass_on(self, text: str) -> None:
        for start in range(0, len(text), PIECE):
            self._publish(text[start : start + PIECE])

    def _publish(self, text: str) -> None:
        first = self._first
        self._sink.publish(Delta(first.run_id, first.step, first.index, first.attempt, first.call, self._offset, text, json=first.json))
        self._offset += len(text)

    def _mark(self, *, dropped: str | None = None, ended: bool = False) -> None:
        first = self._first
        mark = Delta(first.run_id, first.step, first.index, first.attempt, first.call, self._offset, "", json=first.json, dropped=dropped, ended=ended)
        self._sink.publish(mark)
