"""Spans on their way to a collector, by the OpenTelemetry SDK. Imported only where an endpoint is set: SDK and exporter are an extra.

Everything here is bounded and may lose spans: a collector that is away, slow or wrong costs a thread its time and nobody else anything.
"""

import threading
from collections.abc import Callable, Mapping
from typing import Any, cast

import structlog
from opentelemetry import trace as api
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.trace import NonRecordingSpan, SpanContext, Status, StatusCode, TraceFlags

from runtime.settings import Settings
from runtime.tracing.spans import MAX_CONTENT, MAX_TEXT, Span, SpanKind, cut
from runtime.version import VERSION

MAX_QUEUE = 8192
"""Spans that wait; beyond it the oldest are lost."""
BATCH = 512
EVERY_MS = 2000
EXPORT_SECONDS = 5.0
"""Of one request to the collector, repetitions included."""

_KINDS = {SpanKind.INTERNAL: api.SpanKind.INTERNAL, SpanKind.SERVER: api.SpanKind.SERVER, SpanKind.CLIENT: api.SpanKind.CLIENT}
log = structlog.get_logger(__name__)


class OtelExporter:
    """Implements `Exporter`. Used from one thread; what it gives to the SDK is sent by a thread of the SDK's."""

    def __init__(self, exporter: SpanExporter, service: str) -> None:
        """`service`: which process this is, as `service.instance.id`."""
        resource = Resource.create({"service.name": "agentic-workflows", "service.version": VERSION, "service.instance.id": service})
        self._ids = _Given()
        limits = SpanLimits(max_span_attribute_length=MAX_CONTENT)
        self._provider = TracerProvider(resource=resource, id_generator=self._ids, span_limits=limits, shutdown_on_exit=False)
        self._processor = BatchSpanProcessor(exporter, max_queue_size=MAX_QUEUE, schedule_delay_millis=EVERY_MS, max_export_batch_size=BATCH)
        self._provider.add_span_processor(self._processor)
        self._tracer = self._provider.get_tracer("agentic-workflows", VERSION)

    def add(self, span: Span) -> None:
        """Queue the span; one that cannot be queued is lost, and the log says so."""
        try:
            self._add(span)
        except Exception as error:  # noqa: BLE001 - whatever the SDK dislikes about a span must not touch the run it is about
            log.warning("span_lost", error=type(error).__name__)

    def _add(self, span: Span) -> None:
        self._ids.trace, self._ids.span = int(span.at.trace_id, 16), int(span.at.span_id, 16)
        above = None
        if span.parent is not None:
            above = NonRecordingSpan(SpanContext(self._ids.trace, int(span.parent, 16), is_remote=True, trace_flags=TraceFlags(span.at.flags)))
        # Never the context of the task: a library that traces by itself must not become our parent.
        context = api.set_span_in_context(above if above is not None else api.INVALID_SPAN)
        made = self._tracer.start_span(span.name, context, _KINDS[span.kind], _plain(span.attributes), start_time=span.begun)
        if span.error is not None:
            made.set_attribute("error.type", cut(span.error, MAX_TEXT))
            made.set_status(Status(StatusCode.ERROR))
        made.end(span.ended)

    def flush(self, seconds: float) -> None:
        """Send what waits, for at most so long."""
        _within(seconds, self._processor.force_flush)

    def close(self, seconds: float) -> None:
        """Send what waits, for at most so long; nothing is taken any more."""
        _within(seconds, self._provider.shutdown)


class _Given(IdGenerator):
    """Ids that are known already: whoever makes a span sets them first."""

    def __init__(self) -> None:
        self.trace, self.span = 0, 0

    def generate_trace_id(self) -> int:
        return self.trace

    def generate_span_id(self) -> int:
        return self.span


def otlp(settings: Settings, service: str) -> OtelExporter:
    """The way to the collector of these settings, by OTLP over HTTP. Raises ValueError for headers nobody can read."""
    endpoint = cast("str", settings.otel_endpoint).rstrip("/")
    url = endpoint if endpoint.endswith("/v1/traces") else f"{endpoint}/v1/traces"
    given = "" if settings.otel_headers is None else settings.otel_headers.get_secret_value()
    return OtelExporter(OTLPSpanExporter(endpoint=url, headers=_headers(given), timeout=EXPORT_SECONDS), service)


def _headers(text: str) -> dict[str, str]:
    """`name=value,name=value`, as OTEL_EXPORTER_OTLP_HEADERS has it."""
    found = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, equals, value = part.partition("=")
        if not equals or not name.strip():
            raise ValueError("headers of the collector are written name=value, with commas between them")
        found[name.strip().lower()] = value.strip()
    return found


def _plain(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Without what is not known; texts that are no content have a small bound, those that are one have been cut already."""
    return {name: value for name, value in attributes.items() if value is not None}


def _within(seconds: float, work: Callable[[], object]) -> None:
    """Wait for `work` so long and no longer: a thread that hangs is left behind, it dies with the process."""
    thread = threading.Thread(target=work, name="traces", daemon=True)
    thread.start()
    thread.join(seconds)
