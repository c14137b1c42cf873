"""The seam for what is not a run: workflows and their versions, API keys, and what the platform knows of artifacts.

The rules of runtime/store/protocol.py hold here too.
"""

from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class DefinitionRow:
    """One version of a workflow. `document` is the canonical JSON of the definition."""

    tenant: str
    workflow: str
    definition: str
    document: dict[str, Any]
    created_at: int
    version: int
    """Counts from 1 per workflow."""


@dataclass(frozen=True, slots=True)
class KeyRow:
    """An API key: looked up by id, compared by hash."""

    key_id: str
    tenant: str
    name: str
    digest: bytes
    scopes: tuple[str, ...]
    created_at: int
    expires_at: int | None = None
    revoked_at: int | None = None


@dataclass(frozen=True, slots=True)
class ArtifactRow:
    """A named artifact of a run: a label on content that is stored by hash."""

    run_id: str
    name: str
    digest: str
    """sha256, hex."""
    size: int
    media_type: str
    created_at: int
    step: str | None = None


class Catalog(Protocol):
    """Workflows and their versions, API keys, and what the platform knows of artifacts."""

    async def publish(self, row: DefinitionRow, *, if_match: str | None = None, create: bool = False) -> DefinitionRow:
        """Make a version current. The same content again is the same version. Raises Conflict (create, exists), VersionChanged."""
        ...

    async def definition(self, tenant: str, definition: str) -> DefinitionRow | None:
        """By content hash."""
        ...

    async def current(self, tenant: str, workflow: str) -> DefinitionRow | None: ...

    async def workflows(self, tenant: str, *, after: str | None = None, limit: int = 50) -> list[DefinitionRow]:
        """Current versions, by name."""
        ...

    async def versions(self, tenant: str, workflow: str, *, before: int | None = None, limit: int = 50) -> list[DefinitionRow]: ...

    async def delete(self, tenant: str, workflow: str, now: int) -> bool:
        """Hide a workflow from lists and new runs; its versions stay for as long as there are runs of it."""
        ...

    async def put_key(self, row: KeyRow) -> None: ...

    async def key(self, key_id: str) -> KeyRow | None: ...

    async def keys(self, tenant: str) -> list[KeyRow]: ...

    async def revoke_key(self, tenant: str, key_id: str, now: int) -> bool: ...

    async def put_artifact(self, row: ArtifactRow) -> None:
        """Put a name on content; nothing when the run is no longer there."""
        ...

    async def artifacts(self, run_id: str, *, after: str | None = None, limit: int = 50) -> list[ArtifactRow]: ...

    async def artifact(self, run_id: str, name: str) -> ArtifactRow | None: ...
