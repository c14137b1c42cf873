"""A session without a server: the whole platform in this process, on the same database as `agentic up`."""

from collections.abc import AsyncIterator, Iterable
from contextlib import ExitStack, aclosing, asynccontextmanager
from typing import Any

from actors.cli.connection import load_settings
from runtime.api.requests_money import RunBudget
from runtime.deltas.delta import Deltas
from runtime.deltas.merging import merged
from runtime.deltas.views import heard
from runtime.gateway import Gateway, views
from runtime.gateway.starts import StartRequest
from runtime.local import LocalPlatform
from runtime.logs import set_up_logs
from runtime.references import reference
from runtime.values import load

TENANT = "default"
"""The tenant of the key that `agentic up` makes, so that both see the same runs."""
WHO = "command line"


class LocalSession:
    """A session on a gateway in this process."""

    def __init__(self, gateway: Gateway, deltas: Deltas) -> None:
        self._gateway, self._deltas = gateway, deltas

    async def publish(self, source: str) -> tuple[str, str]:
        row = await self._gateway.publish(TENANT, source)
        return row.workflow, row.definition

    async def definition(self, workflow: str) -> dict[str, Any]:
        return (await self._gateway.workflow(TENANT, workflow)).document

    async def start(self, workflow: str, request: dict[str, Any]) -> str:
        budget = RunBudget.model_validate(request.pop("budget")).journalled() if "budget" in request else None
        return (await self._gateway.start(TENANT, StartRequest(workflow, **request, budget=budget))).run.run_id

    async def events(self, run_id: str, after: int = 0, *, deltas: bool = False) -> AsyncIterator[dict[str, Any]]:
        batches = self._gateway.follow(TENANT, run_id, after=after)
        with ExitStack() as stack:
            both = merged(batches, stack.enter_context(self._deltas.follow(run_id))) if deltas else batches
            async with aclosing(both):
                async for batch in both:
                    for event in heard(batch) if isinstance(batch, tuple) else map(views.event, batch):
                        yield event

    async def run(self, run_id: str) -> dict[str, Any]:
        row = await self._gateway.run(TENANT, run_id)
        created = await self._gateway.created(row)
        inputs, output = [await self._gateway.shown(value) for value in ((created.body or {}).get("inputs"), row.result)]
        return views.run_detail(row, inputs=inputs, output=output)

    async def decide(self, approval_id: str, *, approved: bool, comment: str, form: Any) -> None:
        await self._gateway.decide(TENANT, approval_id, approved=approved, comment=comment, form=form, by=WHO)

    async def artifact(self, run_id: str, name: str) -> bytes:
        row = await self._gateway.artifact(TENANT, run_id, name)
        return b"".join([chunk async for chunk in self._gateway.content(row.digest)])

    def differences(self) -> Iterable[str]:
        return ()

    async def kinds(self, run_id: str) -> dict[str, str]:
        plan = (await self._gateway.state(TENANT, run_id)).plan
        return {name: step.kind.value for name, step in plan.steps.items()}

    async def value(self, run_id: str, sha256: str) -> Any:
        size = await self._gateway.value(TENANT, run_id, sha256)
        return await load(reference(sha256, size), self._gateway.artifacts)


@asynccontextmanager
async def local() -> AsyncIterator[LocalSession]:
    """The platform in this process; drained at the end."""
    settings = load_settings()
    set_up_logs(settings)
    async with LocalPlatform(settings) as platform:
        yield LocalSession(platform.gateway, platform.deltas)
