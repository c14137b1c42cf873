"""Server-sent events: the journal as a stream. The id of an event is its seq, so a client resumes where it was."""

from collections.abc import AsyncIterator
from contextlib import aclosing

import structlog
from pydantic_core import to_json

from runtime.api.streams import Streams
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


async def stream(gateway: Gateway, streams: Streams, tenant: str, run_id: str, after: int) -> AsyncIterator[bytes]:
    """The run's events after `after` until its last. The next batch is read only when the client has taken the one before."""
    with streams.place(tenant):
        yield b"retry: %d\n\n" % RETRY_MS
        try:
            async with aclosing(gateway.follow(tenant, run_id, after=after)) as batches:
                async for batch in batches:
                    yield b"".join(encoded(event) for event in batch) if batch else KEEP_ALIVE
        except StoreUnavailable:
            # The answer has begun, so no status can say it. The client comes back with the id of the last event it has.
            log.warning("event stream broken off: the database does not answer", run_id=run_id)
            yield BROKEN_OFF
