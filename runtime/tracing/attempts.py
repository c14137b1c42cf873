"""The span of one attempt of a step, and what happens inside of it: model calls and calls of tools."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from runtime.errors import AgenticError, StepFailed
from runtime.tracing import names
from runtime.tracing.ids import Place, attempt_span_id, place, run_span_id
from runtime.tracing.spans import Span, SpanKind, Tracer, now

innermost: ContextVar[str | None] = ContextVar("innermost", default=None)
"""The `traceparent` of the tool call under way in this task: what it sends out belongs beneath it."""


@dataclass(slots=True)
class Open:
    """A span that has begun. What is found out meanwhile goes into `attributes` and `error`."""

    at: Place
    attributes: dict[str, Any]
    error: str | None = None


@dataclass(slots=True)
class AttemptSpan:
    """One attempt that is traced. `at` is the place of what it sends out itself."""

    tracer: Tracer
    at: Place
    parent: str
    name: str
    attributes: dict[str, Any]
    begun: int = field(default_factory=now)

    def ended(self, error: str | None, usage: Mapping[str, Any]) -> None:
        """The attempt has a result."""
        known = {names.INPUT_TOKENS: usage.get("input_tokens"), names.OUTPUT_TOKENS: usage.get("output_tokens"), names.COST: usage.get("cost_usd")}
        attributes = self.attributes | {name: value for name, value in known.items() if value is not None}
        self.tracer.add(Span(self.name, self.at, self.parent, self.begun, now(), attributes, error))

    @contextmanager
    def inside(self, name: str, attributes: dict[str, Any], kind: SpanKind = SpanKind.CLIENT) -> Iterator[Open]:
        """A span beneath the attempt's, for as long as this is open."""
        opened, begun = Open(self.at.below(), attributes), now()
        try:
            yield opened
        except BaseException as error:
            opened.error = code_of(error)
            raise
        finally:
            self.tracer.add(Span(name, opened.at, self.at.span_id, begun, now(), opened.attributes, opened.error, kind))

    @contextmanager
    def tool(self, name: str, call_id: str | None, args: Any) -> Iterator[Open]:
        """A tool is being called; what it sends out meanwhile carries the place of this span."""
        attributes = {names.OPERATION: names.TOOL, names.TOOL_NAME: name, names.TOOL_CALL_ID: call_id, names.TOOL_ARGUMENTS: self.tracer.shown(args)}
        with self.inside(f"{names.TOOL} {name}", attributes, SpanKind.INTERNAL) as opened:
            token = innermost.set(str(opened.at))
            try:
                yield opened
            finally:
                innermost.reset(token)


def begin(
    tracer: Tracer, traceparent: str | None, *, run_id: str, workflow: str, step_key: str, step: str, kind: str, index: int | None, attempt: int
) -> AttemptSpan | None:
    """The span of an attempt that begins; None when the run has no trace, or one that nobody wants."""
    above = place(traceparent)
    if above is None or not above.sampled:
        return None
    agent = kind == "agent"
    attributes = {
        names.OPERATION: names.AGENT if agent else None,
        names.AGENT_NAME: step if agent else None,
        names.RUN_ID: run_id,
        names.WORKFLOW: workflow,
        names.STEP_KEY: step_key,
        names.STEP_KIND: kind,
        names.ATTEMPT: attempt,
        names.INDEX: index,
    }
    at = above.at(attempt_span_id(run_id, step_key, index, attempt))
    return AttemptSpan(tracer, at, run_span_id(run_id), f"{names.AGENT if agent else names.STEP} {step}", attributes)


def code_of(error: BaseException) -> str:
    """What `error.type` says of an exception."""
    if isinstance(error, StepFailed):
        return error.error_code
    return error.code if isinstance(error, AgenticError) else type(error).__name__
