"""The examples, run for real: the whole platform in this process, the model simulated."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from runtime.engine.events import Event, Kind
from runtime.gateway import StartRequest
from runtime.local import LocalPlatform
from runtime.settings import Settings
from runtime.store.protocol import ApprovalQuery, ApprovalRow, RunRow

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
TENANT = "default"
PATIENCE = 40.0
"""Seconds."""


class Desk:
    """What a person does with a platform: publish, start, answer, look."""

    def __init__(self, platform: LocalPlatform) -> None:
        self.platform = platform
        self.gateway = platform.gateway

    async def start(self, path: str, *, mode: str = "simulated", **inputs: Any) -> RunRow:
        published = await self.gateway.publish(TENANT, (EXAMPLES / path).read_text())
        return (await self.gateway.start(TENANT, StartRequest(published.workflow, inputs, mode=mode))).run

    async def until(self, run: RunRow, wanted: Callable[[Event], bool]) -> Event:
        """The first event of the run that is wanted."""
        async with asyncio.timeout(PATIENCE), aclosing(self.gateway.follow(TENANT, run.run_id)) as pages:
            async for page in pages:
                for event in page:
                    if wanted(event):
                        return event
        raise AssertionError("the run ended without it")

    async def approval(self, run: RunRow) -> ApprovalRow:
        """The question the run asks."""
        await self.until(run, lambda event: event.kind is Kind.STEP_WAITING and (event.body or {}).get("for") == "approval")
        (row,) = await self.gateway.approvals(TENANT, ApprovalQuery(TENANT, run_id=run.run_id))
        return row

    async def end(self, run: RunRow) -> RunRow:
        """The run when it has ended."""
        row = await self.gateway.wait(TENANT, run.run_id, PATIENCE)
        assert row.status.ended, f"{row.workflow} is {row.status}"
        return row

    async def outputs(self, run: RunRow) -> Any:
        """The outputs of a run that has succeeded."""
        row = await self.end(run)
        assert row.status == "succeeded", row.error
        return await self.gateway.shown(row.result)

    async def statuses(self, run: RunRow) -> dict[str, str]:
        return {name: str(step.status) for name, step in (await self.gateway.steps(TENANT, run.run_id)).items()}

    async def artifact(self, run: RunRow, name: str) -> str:
        row = await self.gateway.artifact(TENANT, run.run_id, name)
        return (await self.gateway.artifacts.get(row.digest)).decode()


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with LocalPlatform(Settings(home=tmp_path, drain_ms=1000)) as platform:
        yield Desk(platform)
