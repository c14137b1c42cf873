"""How the spans of one run belong together, whoever makes them, wherever and whenever.

A run's trace is in its first event: the `traceparent` of the client that started it, or one of its own. Its span's id, and those of its
attempts, follow from what they are about, so that a process that takes over after days, on another cluster, needs to be told nothing.
"""

import hashlib
import re
import secrets
from dataclasses import dataclass

_FORM = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})")
SAMPLED = 1


@dataclass(frozen=True, slots=True)
class Place:
    """A place in a trace: a span, as those that come beneath it see it. W3C Trace Context."""

    trace_id: str
    """32 hexadecimal digits."""
    span_id: str
    """16 hexadecimal digits."""
    flags: int = SAMPLED

    @property
    def sampled(self) -> bool:
        """Whether whoever began the trace wants to have it."""
        return bool(self.flags & SAMPLED)

    def at(self, span_id: str) -> "Place":
        """Another span of the same trace."""
        return Place(self.trace_id, span_id, self.flags)

    def below(self) -> "Place":
        """A new span of the same trace."""
        return self.at(secrets.token_hex(8))

    def __str__(self) -> str:
        """The `traceparent` header."""
        return f"00-{self.trace_id}-{self.span_id}-{self.flags:02x}"


def place(traceparent: str | None) -> Place | None:
    """What a `traceparent` says; None for anything that is none."""
    match = _FORM.fullmatch(traceparent or "")
    return None if match is None else Place(match[1], match[2], int(match[3], 16))


def trace_id_of(traceparent: str | None) -> str | None:
    """For logs: the trace a run belongs to."""
    return traceparent[3:35] if traceparent else None


def new_trace() -> Place:
    """The beginning of a trace of our own."""
    return Place(secrets.token_hex(16), secrets.token_hex(8))


def run_root(run_id: str) -> Place:
    """The place of a run that nobody has given a trace: a trace of its own, whose root is the run's span."""
    return Place(secrets.token_hex(16), run_span_id(run_id))


def beneath_run(traceparent: str | None, run_id: str) -> str | None:
    """The `traceparent` for what a run brings about: its child runs, the webhooks about it."""
    above = place(traceparent)
    return None if above is None else str(above.at(run_span_id(run_id)))


def run_span_id(run_id: str) -> str:
    """The id of a run's span."""
    return _derived(run_id)


def attempt_span_id(run_id: str, step_key: str, index: int | None, attempt: int) -> str:
    """The id of an attempt's span."""
    return _derived(f"{run_id}/{step_key}/{'' if index is None else index}/{attempt}")


def _derived(what: str) -> str:
    return hashlib.blake2b(what.encode(), digest_size=8, person=b"agentic-span").hexdigest()
