"""Workflows that start each other: what one of them needs is brought along."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from runtime.definition.model import Definition
from runtime.definition.validation import parse
from runtime.gateway import Gateway
from runtime.settings import Settings
from runtime.simulation.people import TENANT
from runtime.store.catalog_protocol import DefinitionRow
from runtime.store.open import Store, open_store


class Family:
    """Publishes workflows on a stage, with those their steps start as far as the user's own database has them; it is read, never changed."""

    def __init__(self, gateway: Gateway, settings: Settings) -> None:
        self._gateway, self._settings = gateway, settings
        self._known: set[tuple[str, str | None]] = set()
        """By name and version; None is the current one."""

    async def publish(self, sources: Sequence[str]) -> list[DefinitionRow]:
        """Publish these definitions, the first of which is to run. Raises DefinitionInvalid, StoreUnavailable."""
        rows = [await self._gateway.publish(TENANT, source) for source in sources]
        self._known.update(pair for row in rows for pair in ((row.workflow, None), (row.workflow, row.definition)))
        wanted = {child for row in rows for child in children(parse(row.document).definition)} - self._known
        if wanted:
            await self._bring(list(wanted))
        return rows

    async def fetch(self, name: str) -> DefinitionRow | None:
        """Publish the current version of a workflow of the user's database, with all it starts. None when there is none."""
        await self._bring([(name, None)])
        return await self._gateway.catalog.current(TENANT, name)

    async def _bring(self, wanted: list[tuple[str, str | None]]) -> None:
        if not self._has_database():
            return
        store = await open_store(self._settings.database, migrate=False)
        try:
            while wanted:
                one = wanted.pop()
                if one not in self._known and (row := await _stored(store, *one)) is not None:
                    self._known.add(one)
                    await self._gateway.publish(TENANT, row.document)
                    wanted += children(parse(row.document).definition)
        finally:
            await store.close()

    def _has_database(self) -> bool:
        """A file that is not there must not be made by looking."""
        url, scheme = self._settings.database, "sqlite:///"
        if not url.startswith(scheme):
            return True
        return Path(url.removeprefix(scheme)).is_file()


async def _stored(store: Store, name: str, version: str | None) -> DefinitionRow | None:
    return await (store.catalog.current(TENANT, name) if version is None else store.catalog.definition(TENANT, version))


def children(definition: Definition) -> Iterator[tuple[str, str | None]]:
    """The workflows this one starts, by name and version."""
    for step in (*definition.steps.values(), *definition.finally_.values()):
        if step.workflow is not None:
            yield step.workflow.name, step.workflow.version
