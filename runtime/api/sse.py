"""Server-sent events: the journal as a stream. The id of an event is its seq, so a client resumes where it was.

Deltas have no id: they are no part of the journal, and a client that comes back is not given them again.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack, aclosing
from typing import Any

import structlog
from pydantic_core import to_json

from runtime.api.streams import Streams
from runtime.deltas.delta import Deltas
from runtime.deltas.merging import merged
from runtime.deltas.views import heard
from runtime.engine.events import Event
from runtime.errors import StoreUnavailable
from runtime.gateway import Gateway, views

log = structlog.get_logger("runtime.api")
MEDIA_TYPE = "text/event-stream"
RETRY_MS = 1000
KEEP_ALIVE = b": keep-alive\n\n"
BROKEN_OFF = b": the database does not answer; reconnect\n\n"
HEADERS = {"X-Accel-Buffering": "no"}
"""Asks proxies not to hold events back."""


def encoded(event: Event) -> bytes:
    """One event. JSON has no line breaks of its own, so `data` is one line."""
    return b"id: %d\nevent: %b\ndata: %b\n\n" % (event.seq, event.kind.encode(), to_json(views.event(event), inf_nan_mode="strings"))


def said(message: Mapping[str, Any]) -> bytes:
    """One delta, or a word about some; see runtime.deltas.views."""
    return b"event: %b\ndata: %b\n\n" % (message["event"].encode(), to_json(message))


async def stream(gateway: Gateway, streams: Streams, tenant: str, run_id: str, after: int, deltas: Deltas | None = None) -> AsyncIterator[bytes]:
    """The run's events after `after` until its last, and between them `deltas`. The next batch is read only when the client has taken the one before."""
    with streams.place(tenant), ExitStack() as stack:
        buffer = None if deltas is None else stack.enter_context(deltas.follow(run_id))
        yield b"retry: %d\n\n" % RETRY_MS
        try:
            batches = gateway.follow(tenant, run_id, after=after)
            async with aclosing(batches if buffer is None else merged(batches, buffer)) as both:
                async for batch in both:
                    if isinstance(batch, tuple):
                        if messages := heard(batch):
                            yield b"".join(map(said, messages))
                    else:
                        yield b"".join(encoded(event) for event in batch) if batch else KEEP_ALIVE
        except StoreUnavailable:
            # The answer has begun, so no status can say it. The client comes back with the id of the last event it has.
            log.warning("event stream broken off: the database does not answer", run_id=run_id)
            yield BROKEN_OFF
