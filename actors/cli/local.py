"""A session without a server: the whole platform in this process, on the same database as `agentic up`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from actors.cli.connection import load_settings
from runtime.gateway import Gateway, views
from runtime.gateway.starts import StartRequest
from runtime.local import LocalPlatform
from runtime.logs import set_up_logs

TENANT = "default"
"""The tenant of the key that `agentic up` makes, so that both see the same runs."""
WHO = "command line"


class LocalSession:
    """A session on a gateway in this process."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def publish(self, source: str) -> tuple[str, str]:
        row = await self._gateway.publish(TENANT, source)
        return row.workflow, row.definition

    async def definition(self, workflow: str) -> dict[str, Any]:
        return (await self._gateway.workflow(TENANT, workflow)).document

    async def start(self, workflow: str, request: dict[str, Any]) -> str:
        return (await self._gateway.start(TENANT, StartRequest(workflow, **request))).run.run_id

    async def events(self, run_id: str, after: int = 0) -> AsyncIterator[dict[str, Any]]:
        async for batch in self._gateway.follow(TENANT, run_id, after=after):
            for event in batch:
                yield views.event(event)

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


@asynccontextmanager
async def local() -> AsyncIterator[LocalSession]:
    """The platform in this process; drained at the end."""
    settings = load_settings()
    set_up_logs(settings)
    async with LocalPlatform(settings) as platform:
        yield LocalSession(platform.gateway)
