"""What steps add to conversations, and what they are told of them."""

import asyncio
from collections.abc import Iterator, Sequence

import structlog

from runtime.engine.events import Event, Kind
from runtime.errors import StoreUnavailable
from runtime.store.conversation_protocol import Conversations, Exchange, NewExchange, stored_name

HISTORY_BYTES = 256 * 2**10
"""Of JSON, of what was said before, that a step is told: the last exchanges that fit."""
RETRY_SECONDS = 1.0

log = structlog.get_logger(__name__)


def exchanges_of(events: Sequence[Event], tenant: str, run_id: str, mode: str) -> Iterator[NewExchange]:
    """What these events add: each agent's success in a conversation is one exchange of it."""
    for event in events:
        if event.kind not in (Kind.STEP_SUCCEEDED, Kind.STEP_ITERATED) or event.body is None or "conversation" not in event.body:
            continue
        yield NewExchange(tenant, stored_name(event.body["conversation"], mode), run_id, event.step or "", event.at, event.body["messages"])


async def said_so_far(conversations: Conversations, tenant: str, name: str) -> list[Exchange]:
    """The last exchanges; while the database is away, the step waits as everything else does."""
    while True:
        try:
            return await conversations.latest(tenant, name, HISTORY_BYTES)
        except StoreUnavailable as failure:
            log.warning("store_unavailable", conversation=name, error=str(failure))
            await asyncio.sleep(RETRY_SECONDS)
