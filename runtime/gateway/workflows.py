"""Workflows and their versions: publish, validate, look up, delete."""

import re
from typing import Any

from runtime.definition.validation import Loaded, parse
from runtime.errors import NotFound, PayloadTooLarge
from runtime.gateway.base import Base
from runtime.store.catalog_protocol import DefinitionRow

_NAME = re.compile(r"[a-z][a-z0-9-]{0,62}")
Source = str | bytes | dict[str, Any]
"""A definition as YAML or JSON text, or as plain data."""


class Workflows(Base):
    """What authors do."""

    def validate(self, source: Source) -> Loaded:
        """The definition, compiled, without storing it. Raises DefinitionInvalid with all problems."""
        limit = self.settings.max_definition_bytes
        if isinstance(source, (str, bytes)) and len(source) > limit:
            raise PayloadTooLarge(f"a definition has at most {limit} bytes")
        return parse(source)

    async def publish(self, tenant: str, source: Source | Loaded, *, if_match: str | None = None, create: bool = False) -> DefinitionRow:
        """Make this the current version of the workflow it names. The same content again is the same version.

        `if_match` is the version that must be current. Raises DefinitionInvalid, Conflict (`create`, and the name is taken)
        and VersionChanged.
        """
        loaded = source if isinstance(source, Loaded) else self.validate(source)
        row = DefinitionRow(
            tenant=tenant,
            workflow=loaded.definition.name,
            definition=loaded.hash,
            document=loaded.document,
            created_at=self.clock.now(),
            version=0,
        )
        return await self.catalog.publish(row, if_match=if_match, create=create)

    async def workflow(self, tenant: str, name: str, version: str | None = None) -> DefinitionRow:
        """The current version, or the one with this content hash. Raises NotFound."""
        if not _NAME.fullmatch(name):
            raise _missing(name)
        if version is None:
            row = await self._current.get((tenant, name))
        else:
            row = await self.catalog.definition(tenant, version)
        if row is None or row.workflow != name:
            raise _missing(name, version)
        return row

    async def workflows(self, tenant: str, *, after: str | None = None, limit: int = 50) -> list[DefinitionRow]:
        """Current versions by name, from the one after `after`."""
        return await self.catalog.workflows(tenant, after=after, limit=limit)

    async def versions(self, tenant: str, name: str, *, before: int | None = None, limit: int = 50) -> list[DefinitionRow]:
        """All versions, newest first. Raises NotFound."""
        await self.workflow(tenant, name)
        return await self.catalog.versions(tenant, name, before=before, limit=limit)

    async def delete_workflow(self, tenant: str, name: str) -> None:
        """Hide the workflow from lists and new runs; runs that are under way go on. Raises NotFound."""
        if not _NAME.fullmatch(name) or not await self.catalog.delete(tenant, name, self.clock.now()):
            raise _missing(name)


def _missing(name: str, version: str | None = None) -> NotFound:
    return NotFound(f"there is no workflow {name[:100]!a}" + (f" with version {version[:64]}" if version else ""))
