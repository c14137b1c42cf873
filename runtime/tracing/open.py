"""The tracer of a process, if the settings want one."""

import asyncio
from importlib.util import find_spec

import structlog

from runtime.settings import Settings
from runtime.tracing.spans import Tracer

CLOSE_SECONDS = 3.0
"""So long a process that leaves waits for the collector."""

log = structlog.get_logger(__name__)


def open_tracer(settings: Settings, service: str) -> Tracer | None:
    """The tracer for spans of `service`, or None: without an endpoint nothing is imported, made or kept.

    An installation that cannot trace runs all the same; its log says why it does not.
    """
    if not settings.otel_endpoint:
        return None
    if find_spec("opentelemetry.exporter") is None or find_spec("opentelemetry.exporter.otlp.proto.http") is None:
        log.error("tracing_not_installed", hint="pip install 'agentic-workflows[otel]'")
        return None
    from runtime.tracing.export import otlp

    try:
        return Tracer(otlp(settings, service), content=settings.otel_capture_content)
    except ValueError as error:
        log.error("tracing_not_possible", error=str(error))
        return None


async def close_tracer(tracer: Tracer | None) -> None:
    """Send what waits before the process leaves."""
    if tracer is not None:
        await asyncio.to_thread(tracer.close, CLOSE_SECONDS)
