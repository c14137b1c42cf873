"""How an AgentActor asks the cluster's one limiter, and the answers that are kept: both are with the Supervisor."""

import asyncio
from typing import Any

from ray.exceptions import RayError

from actors.names import SUPERVISOR, forget, handle
from runtime.errors import StoreUnavailable
from runtime.limits.desk import POLL_SECONDS
from runtime.limits.messages import Answer, Batch
from runtime.store.cached_call_protocol import CachedCall

PATIENCE_SECONDS = 5.0
"""Beyond what an open question may take: then the Supervisor is taken for gone."""


async def exchange(batch: Batch) -> Answer:
    """Say something to the desk in the Supervisor. With nobody there the answer is `again`; a new desk wants to hear everything anyway."""
    try:
        async with asyncio.timeout(POLL_SECONDS + PATIENCE_SECONDS):
            answer: Answer = await handle(SUPERVISOR).permits.remote(batch)
    except (RayError, ValueError, TimeoutError):
        forget(SUPERVISOR)
        return Answer(again=True)
    return answer


class SupervisedCallCache:
    """Implements `runtime.store.cached_call_protocol.CallCache` for processes that never open the database."""

    async def find(self, tenant: str, digest: str, now: int) -> CachedCall | None:
        found: list[CachedCall] = await self._ask("cached_call", tenant, digest, now)
        return found[0] if found else None

    async def keep(self, call: CachedCall) -> None:
        await self._ask("keep_call", call)

    @staticmethod
    async def _ask(method: str, *arguments: Any) -> Any:
        try:
            return await getattr(handle(SUPERVISOR), method).remote(*arguments)
        except (RayError, ValueError):
            forget(SUPERVISOR)
            raise StoreUnavailable("the Supervisor does not answer") from None
