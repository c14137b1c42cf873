"""The workflows an agent may call as tools, as they stand when its step goes out. Whoever carries the step out cannot look."""

import asyncio
from collections.abc import Sequence
from typing import Any

import structlog

from runtime.definition.model import Step
from runtime.definition.tools import WorkflowTool
from runtime.errors import StoreUnavailable
from runtime.store.catalog_protocol import Catalog

RETRY_SECONDS = 1.0

log = structlog.get_logger(__name__)


def workflow_tools(step: Step) -> list[WorkflowTool]:
    """The workflows among the tools of a step."""
    return [] if step.agent is None else [entry for entry in step.agent.tools if isinstance(entry, WorkflowTool)]


async def offered(catalog: Catalog, tenant: str, wanted: Sequence[WorkflowTool]) -> tuple[dict[str, Any], ...]:
    """`{workflow, wanted, version, description, inputs}` of each that is there; while the database is away, the step waits as everything else does."""
    while True:
        try:
            found = [await _offer(catalog, tenant, entry) for entry in wanted]
        except StoreUnavailable as failure:
            log.warning("store_unavailable", workflows=[entry.workflow for entry in wanted], error=str(failure))
            await asyncio.sleep(RETRY_SECONDS)
        else:
            return tuple(offer for offer in found if offer is not None)


async def _offer(catalog: Catalog, tenant: str, entry: WorkflowTool) -> dict[str, Any] | None:
    row = await (catalog.current(tenant, entry.workflow) if entry.version is None else catalog.definition(tenant, entry.version))
    if row is None or row.workflow != entry.workflow:
        return None
    document = row.document
    told = {"description": document.get("description", "")[:2_000], "inputs": document.get("inputs", {})}
    return {"workflow": entry.workflow, "wanted": entry.version, "version": row.definition, **told}
