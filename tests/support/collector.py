"""A collector of traces on a free local port: takes OTLP over HTTP, as an OpenTelemetry collector does, and keeps what it was told.

async with collecting() as collector:
    settings = Settings(otel_endpoint=collector.url)
    …
    spans = await collector.until(3)

Needs the extra `otel`.
"""

import asyncio
import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.support.openai_server import serving

KINDS = {1: "internal", 2: "server", 3: "client"}


@dataclass(frozen=True)
class Got:
    """A span as it arrived."""

    name: str
    trace_id: str
    span_id: str
    parent_id: str
    kind: str
    begun: int
    ended: int
    failed: bool
    attributes: dict[str, Any]
    service: str
    """`service.instance.id` of the process it came from."""


@dataclass
class Collector:
    """`status` is what requests are answered with; with `hang` they are not."""

    port: int = 0
    status: int = 200
    hang: asyncio.Event | None = None
    closing: bool = False
    spans: list[Got] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    """What came in, byte for byte."""
    headers: list[dict[str, str]] = field(default_factory=list)
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    @property
    def url(self) -> str:
        """What `otel_endpoint` is set to."""
        return f"http://127.0.0.1:{self.port}"

    async def until(self, count: int) -> list[Got]:
        """All spans, as soon as there are so many."""
        async with asyncio.timeout(40), self._changed:
            await self._changed.wait_for(lambda: len(self.spans) >= count)
        return self.spans

    async def asked(self, count: int = 1) -> None:
        """Wait until so many requests have come in."""
        async with asyncio.timeout(40), self._changed:
            await self._changed.wait_for(lambda: len(self.headers) >= count)

    def named(self, name: str) -> Got:
        """The one span of this name."""
        (found,) = [span for span in self.spans if span.name == name]
        return found

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        body = gzip.decompress(body) if headers.get("content-encoding") == "gzip" else body
        async with self._changed:
            self.headers.append(headers)
            if self.status == 200 and self.hang is None:
                self.bodies.append(body)
                self.spans += _spans(body)
            self._changed.notify_all()
        if self.hang is not None:
            await self.hang.wait()
        await send({"type": "http.response.start", "status": self.status, "headers": [(b"content-type", b"application/x-protobuf")]})
        await send({"type": "http.response.body", "body": b""})


def _spans(body: bytes) -> list[Got]:
    request = ExportTraceServiceRequest.FromString(body)
    found = []
    for part in request.resource_spans:
        service = _attributes(part.resource.attributes)["service.instance.id"]
        for scope in part.scope_spans:
            found += [
                Got(
                    span.name,
                    span.trace_id.hex(),
                    span.span_id.hex(),
                    span.parent_span_id.hex(),
                    KINDS[span.kind],
                    span.start_time_unix_nano,
                    span.end_time_unix_nano,
                    span.status.code == 2,
                    _attributes(span.attributes),
                    service,
                )
                for span in scope.spans
            ]
    return found


def _attributes(given: Any) -> dict[str, Any]:
    return {one.key: _value(one.value) for one in given}


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    return [_value(part) for part in value.array_value.values] if kind == "array_value" else getattr(value, kind)


@asynccontextmanager
async def collecting() -> AsyncIterator[Collector]:
    """A collector that listens until the block ends."""
    collector = Collector()
    async with serving(collector):
        try:
            yield collector
        finally:
            if collector.hang is not None:
                collector.hang.set()
