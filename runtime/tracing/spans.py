"""The spans of a run, from what is known when each of them ends. Content (prompts, answers, arguments) is in them only when the operator wants it."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from pydantic_core import to_json

from runtime.redaction import redact
from runtime.tracing import names
from runtime.tracing.ids import Place, place, run_span_id

MAX_CONTENT = 4096
"""Characters of content in one attribute, where content is wanted at all."""
MAX_TEXT = 256
"""Characters of any other attribute."""
CUT = "…"


class SpanKind(StrEnum):
    """Who speaks with whom."""

    INTERNAL = "internal"
    SERVER = "server"
    CLIENT = "client"


@dataclass(frozen=True, slots=True)
class Span:
    """A span that has ended. Times are nanoseconds since the Unix epoch."""

    name: str
    at: Place
    parent: str | None
    """The id of the span above it, of the same trace."""
    begun: int
    ended: int
    attributes: Mapping[str, Any] = field(default_factory=dict)
    error: str | None = None
    """A code, never a message: messages may repeat content."""
    kind: SpanKind = SpanKind.INTERNAL


class Exporter(Protocol):
    """Where spans go."""

    def add(self, span: Span) -> None:
        """Take it, or lose it. Neither waits nor raises."""
        ...

    def close(self, seconds: float) -> None:
        """Send what waits, for at most so long."""
        ...

    def flush(self, seconds: float) -> None:
        """Likewise, and go on."""
        ...


class Tracer:
    """Gives spans to an exporter. There is one in each process that traces; a process without one makes no spans at all."""

    def __init__(self, exporter: Exporter, *, content: bool = False) -> None:
        self._exporter = exporter
        self.content = content
        """Whether prompts, answers and arguments may stand in spans."""

    def add(self, span: Span) -> None:
        """Have it exported, unless whoever began the trace does not want it."""
        if span.at.sampled:
            self._exporter.add(span)

    def run_ended(self, traceparent: str | None, *, run_id: str, created_at: int, ended_at: int, attributes: Mapping[str, Any], error: str | None) -> None:
        """The span of a run, from its creation to its end (ms)."""
        above = place(traceparent)
        if above is None:
            return
        own = above.at(run_span_id(run_id))
        parent = None if own.span_id == above.span_id else above.span_id
        whole = {names.OPERATION: names.RUN, names.RUN_ID: run_id, **attributes}
        self.add(Span(f"{names.RUN} {attributes[names.WORKFLOW_NAME]}", own, parent, created_at * 1_000_000, ended_at * 1_000_000, whole, error))

    def flush(self, seconds: float) -> None:
        """Send what waits, for at most so long."""
        self._exporter.flush(seconds)

    def close(self, seconds: float) -> None:
        """Send what waits, for at most so long; nothing is taken any more."""
        self._exporter.close(seconds)

    def shown(self, value: Any) -> str | None:
        """Content as an attribute: JSON, without secrets, cut; None when content is not wanted."""
        if not self.content:
            return None
        return cut(redact(value if isinstance(value, str) else to_json(value, inf_nan_mode="strings", fallback=str).decode()), MAX_CONTENT)


def cut(text: str, most: int) -> str:
    """At most so many characters of a text."""
    return text if len(text) <= most else text[: most - len(CUT)] + CUT


def now() -> int:
    """Nanoseconds since the Unix epoch."""
    return time.time_ns()
