"""The Catalog on SQL."""

from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import Connection

from runtime.store import labels, versions
from runtime.store.catalog_protocol import ArtifactRow, DefinitionRow, KeyRow
from runtime.store.operations import Work
from runtime.store.reader import Reader
from runtime.store.writer import Writer

T = TypeVar("T")


class SqlCatalog:
    """Implements `protocol.Catalog`, which documents every method."""

    def __init__(self, writer: Writer, reader: Reader) -> None:
        self._writer = writer
        self._reader = reader

    async def publish(self, row: DefinitionRow, *, if_match: str | None = None, create: bool = False) -> DefinitionRow:
        return await self._work(lambda connection: versions.publish(connection, row, if_match=if_match, create=create))

    async def definition(self, tenant: str, definition: str) -> DefinitionRow | None:
        return await self._reader.read(lambda connection: versions.by_hash(connection, tenant, definition))

    async def current(self, tenant: str, workflow: str) -> DefinitionRow | None:
        return await self._reader.read(lambda connection: versions.current(connection, tenant, workflow))

    async def workflows(self, tenant: str, *, after: str | None = None, limit: int = 50) -> list[DefinitionRow]:
        return await self._reader.read(lambda connection: versions.all_current(connection, tenant, after, limit))

    async def versions(self, tenant: str, workflow: str, *, before: int | None = None, limit: int = 50) -> list[DefinitionRow]:
        return await self._reader.read(lambda connection: versions.history(connection, tenant, workflow, before, limit))

    async def delete(self, tenant: str, workflow: str, now: int) -> bool:
        return await self._work(lambda connection: versions.hide(connection, tenant, workflow, now))

    async def put_key(self, row: KeyRow) -> None:
        await self._work(lambda connection: labels.put_key(connection, row))

    async def key(self, key_id: str) -> KeyRow | None:
        return await self._reader.read(lambda connection: labels.read_key(connection, key_id))

    async def keys(self, tenant: str) -> list[KeyRow]:
        return await self._reader.read(lambda connection: labels.list_keys(connection, tenant))

    async def revoke_key(self, tenant: str, key_id: str, now: int) -> bool:
        return await self._work(lambda connection: labels.revoke_key(connection, tenant, key_id, now))

    async def put_artifact(self, row: ArtifactRow) -> None:
        await self._work(lambda connection: labels.put_artifact(connection, row))

    async def artifacts(self, run_id: str, *, after: str | None = None, limit: int = 50) -> list[ArtifactRow]:
        return await self._reader.read(lambda connection: labels.list_artifacts(connection, run_id, after, limit))

    async def artifact(self, run_id: str, name: str) -> ArtifactRow | None:
        return await self._reader.read(lambda connection: labels.read_artifact(connection, run_id, name))

    async def _work(self, function: Callable[[Connection], T]) -> T:
        return await self._writer.write(Work(function))
