"""Compiled definitions of the runs a host turns. A definition never changes under its hash, so nothing here grows old."""

from runtime.definition.plan import Plan, plan_for
from runtime.errors import NotFound
from runtime.store.catalog_protocol import Catalog
from runtime.store.protocol import RunRow

MAX_PLANS = 256


class Plans:
    """By content hash, at most 256; then it begins anew."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._plans: dict[str, Plan] = {}

    def known(self, row: RunRow) -> Plan | None:
        """The plan of this run if it is at hand. May be called on another thread."""
        return self._plans.get(row.definition)

    async def of(self, row: RunRow) -> Plan:
        """The plan of this run. Raises NotFound, StoreUnavailable."""
        plan = self._plans.get(row.definition)
        if plan is None:
            definition = await self._catalog.definition(row.tenant, row.definition)
            if definition is None:
                raise NotFound(f"the definition {row.definition} of this run is gone")
            plan = plan_for(definition.document, definition.definition)
            if len(self._plans) >= MAX_PLANS:
                self._plans.clear()
            self._plans[row.definition] = plan
        return plan
