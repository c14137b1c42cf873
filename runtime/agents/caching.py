"""The layer that gives an answer again: who asks the same question within the time its step says pays nothing and waits for nobody."""

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import structlog

from runtime.agents import prices
from runtime.agents.asking import Ask, Request
from runtime.errors import AgenticError
from runtime.store.cached_call_protocol import MAX_ANSWER_BYTES, CachedCall, CallCache

if TYPE_CHECKING:  # pydantic_ai costs a process 1 s and 60 MB
    from pydantic_ai.messages import ModelResponse

CACHED = "cached"
SAVED_USD = "saved_usd"
"""Where a response's metadata says that it is an earlier answer, and what that had cost, when it is known."""
PATIENCE_SECONDS = 2.0
"""So long the cache is waited for; then the model is asked as if there were none."""
UNFIT = frozenset({"content_filter", "error"})
"""Ends of answers that another try may better."""

log = structlog.get_logger(__name__)


class Caching:
    """A Layer, the outermost one, for one attempt. Whatever is wrong with the cache is logged, and the model is asked.

    `workflow`: who asks. `shared`: whether other workflows of the tenant may be given its answers, and it theirs. `read`: whether an earlier
    answer may be given; an attempt that follows another one asks anew, because the answer may be why there is a second one.
    """

    def __init__(
        self,
        cache: CallCache,
        tenant: str,
        workflow: str,
        ttl_ms: int,
        *,
        shared: bool = False,
        read: bool = True,
        now: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._cache, self._tenant, self._workflow, self._ttl_ms = cache, tenant, workflow, ttl_ms
        self._scope, self._read, self._now = "" if shared else workflow, read, now

    async def __call__(self, request: Request, ask: Ask) -> "ModelResponse":
        from runtime.agents.questions import digest_of

        digest = await asyncio.to_thread(digest_of, request, self._tenant, self._scope)
        found = await self._find(digest) if self._read else None
        if found is not None:
            return found
        response = await ask(request)
        if response.finish_reason not in UNFIT:
            await self._keep(digest, request, response)
        return response

    async def _find(self, digest: str) -> "ModelResponse | None":
        now = self._now()
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                kept = await self._cache.find(self._tenant, digest, now)
            return None if kept is None or kept.created_at + self._ttl_ms <= now else _response(kept.answer)
        except (AgenticError, TimeoutError, ValueError) as error:
            log.warning("cached_call_not_read", tenant=self._tenant, error=str(error) or type(error).__name__)
            return None

    async def _keep(self, digest: str, request: Request, response: "ModelResponse") -> None:
        now = self._now()
        try:
            answer = _text(response)
            if len(answer.encode()) > MAX_ANSWER_BYTES:
                return
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self._cache.keep(CachedCall(self._tenant, digest, self._workflow, request.choice.model_id, now, now + self._ttl_ms, answer))
        except (AgenticError, TimeoutError, ValueError) as error:
            log.warning("cached_call_not_kept", tenant=self._tenant, error=str(error) or type(error).__name__)


def _text(response: "ModelResponse") -> str:
    """As JSON, fit for any database. Raises ValueError."""
    from pydantic_ai.messages import ModelMessagesTypeAdapter
    from pydantic_core import to_json

    from runtime.agents.ledger import storable

    (body,) = ModelMessagesTypeAdapter.dump_python([response], mode="json", exclude_none=True)
    body.pop("metadata", None)
    cost = prices.paid(response)
    return to_json({"response": storable(body), SAVED_USD: None if cost is None else float(cost)}).decode()


def _response(text: str) -> "ModelResponse":
    """The answer, which costs nothing now. Raises ValueError."""
    from pydantic_ai.messages import ModelMessagesTypeAdapter, ModelResponse
    from pydantic_ai.usage import RequestUsage
    from pydantic_core import from_json

    kept = from_json(text)
    if not isinstance(kept, dict):
        raise ValueError("a kept answer is none")
    (response,) = ModelMessagesTypeAdapter.validate_python([kept.get("response")])
    if not isinstance(response, ModelResponse):
        raise ValueError("a kept answer is none")
    response.usage = RequestUsage()
    response.metadata = {CACHED: True, SAVED_USD: kept.get(SAVED_USD)}
    return response
