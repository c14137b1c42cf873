"""The seam for provider keys: what a tenant's model calls are paid with, as envelopes (runtime/secrets.py)."""

from dataclasses import dataclass, field
from typing import Protocol

from runtime.secrets import Place

PURPOSE = "provider-key"


@dataclass(frozen=True, slots=True)
class ProviderKeyRow:
    """One tenant's key for one provider. Times are ms. It may travel between processes: without SECRET_KEY it is worth nothing."""

    id: str
    tenant: str
    provider: str
    envelope: str = field(repr=False)
    """Holds the key and the address it is for, both or neither (runtime/keys/pair.py)."""
    created_at: int
    updated_at: int
    """When its content was last set; later at each change, also when clocks disagree."""

    @property
    def place(self) -> Place:
        """Where it opens: for this tenant and this provider alone."""
        return Place(self.tenant, PURPOSE, self.provider)


class ProviderKeys(Protocol):
    """At most one key for each tenant and provider."""

    async def put(self, row: ProviderKeyRow) -> ProviderKeyRow:
        """Store it, in the place of the one before if there is one. Returns it as stored: with the id and `created_at` of the first."""
        ...

    async def key(self, tenant: str, provider: str) -> ProviderKeyRow | None: ...

    async def keys(self, tenant: str) -> list[ProviderKeyRow]:
        """By provider."""
        ...

    async def remove(self, tenant: str, provider: str) -> bool: ...

    async def version(self) -> str:
        """A text that is another one after every `put` and `remove`, whosever key it was."""
        ...
