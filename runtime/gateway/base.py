"""What every part of the gateway is built on: the seams, and the one check of who owns a run."""

from runtime.artifacts.protocol import ArtifactStore
from runtime.clock import Clock, SystemClock
from runtime.definition.plan import Plan, plan_for
from runtime.errors import NotFound
from runtime.gateway.feeds import Feeds
from runtime.gateway.folds import Folds
from runtime.gateway.runner import Runner
from runtime.gateway.sharing import SharedRead
from runtime.ids import is_uuid
from runtime.lru import Lru
from runtime.settings import Settings
from runtime.store.catalog_protocol import Catalog, DefinitionRow
from runtime.store.protocol import Journal, RunRow

PLANS = 256


class Base:
    """Holds the dependencies. Parts of the gateway derive from it; none keeps state that another process would miss."""

    def __init__(
        self,
        journal: Journal,
        catalog: Catalog,
        artifacts: ArtifactStore,
        runner: Runner,
        settings: Settings,
        clock: Clock | None = None,
    ) -> None:
        self.journal = journal
        self.catalog = catalog
        self.artifacts = artifacts
        self.runner = runner
        self.settings = settings
        self.clock = clock or SystemClock()
        self.feeds = Feeds(journal, runner, self.clock)
        self._plans: Lru[tuple[str, str], Plan] = Lru(PLANS)
        self._folds = Folds(journal)
        self._current: SharedRead[tuple[str, str], DefinitionRow | None] = SharedRead(lambda key: catalog.current(*key))
        self._active: tuple[float, int] = (-1.0, 0)
        journal.on_news(runner.nudge)

    async def run(self, tenant: str, run_id: str) -> RunRow:
        """The run's row. Raises NotFound, also for a run of another tenant."""
        row = await self.journal.run(run_id) if is_uuid(run_id) else None
        if row is None or row.tenant != tenant:
            raise NotFound(f"there is no run {run_id[:100]}")
        return row

    async def plan(self, row: RunRow) -> Plan:
        """The compiled definition the run is pinned to. Raises NotFound when it is gone."""
        plan = self._plans.get((row.tenant, row.definition))
        if plan is not None:
            return plan
        stored = await self.catalog.definition(row.tenant, row.definition)
        if stored is None:
            raise NotFound(f"version {row.definition} of {row.workflow} is no longer stored", run_id=row.run_id)
        return self.compiled(stored)

    def compiled(self, stored: DefinitionRow) -> Plan:
        """The plan of a stored version; compiled once per process."""
        key = (stored.tenant, stored.definition)
        plan = self._plans.get(key)
        if plan is None:
            plan = plan_for(stored.document, stored.definition)
            self._plans.put(key, plan)
        return plan
