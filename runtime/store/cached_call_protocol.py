"""The seam for answers of models that are kept to be given again."""

from dataclasses import dataclass, field
from typing import Protocol

MAX_ANSWER_BYTES = 256 * 1024
"""Of one kept answer as JSON; a larger one is not kept."""


@dataclass(frozen=True, slots=True)
class CachedCall:
    """An answer to what has this digest. Times are ms."""

    tenant: str
    digest: str
    workflow: str
    """Which one asked first."""
    model: str
    created_at: int
    expires_at: int
    answer: str = field(repr=False)
    """JSON."""


class CallCache(Protocol):
    """Reached by the processes that ask models; those never open the database. Raises StoreUnavailable."""

    async def find(self, tenant: str, digest: str, now: int) -> CachedCall | None:
        """What is kept and has not expired."""
        ...

    async def keep(self, call: CachedCall) -> None:
        """Keep it, in the place of what was kept before."""
        ...


class CachedCalls(CallCache, Protocol):
    """All of it, for those who have the database."""

    async def size(self, tenant: str) -> tuple[int, int]:
        """Entries of a tenant, and their bytes."""
        ...

    async def clear(self, tenant: str, workflow: str | None = None) -> int:
        """Forget all answers of a tenant, or those one workflow has asked for; how many."""
        ...
