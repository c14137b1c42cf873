"""The example of docs/tools.md, run as it stands there: a workflow as a tool, and a refund somebody has to approve."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import yaml

from runtime.engine.events import Event, Kind
from runtime.gateway import StartRequest
from runtime.local import LocalPlatform
from runtime.settings import Settings
from runtime.store.protocol import ApprovalQuery, RunQuery, RunRow

TEXT = (Path(__file__).parents[2] / "docs" / "tools.md").read_text()
BLOCKS = {document["name"]: document for document in map(yaml.safe_load, re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL))}
FORM = yaml.safe_load(re.search(r"--form '(.*?)'", TEXT)[1])
QUESTION = "Refund order EL-20418, please. order_id: EL-20418, amount: {amount}"


@pytest.fixture
async def platform(tmp_path: Path) -> AsyncIterator[LocalPlatform]:
    async with LocalPlatform(Settings(home=tmp_path, drain_ms=100)) as running:
        for name in ("order-history", "refund-desk"):
            await running.gateway.publish("default", BLOCKS[name])
        yield running


async def start(platform: LocalPlatform, amount: int) -> RunRow:
    return (await platform.gateway.start("default", StartRequest("refund-desk", {"question": QUESTION.format(amount=amount)}, mode="simulated"))).run


async def calls(platform: LocalPlatform, run: RunRow) -> dict[str, Event]:
    """The finished calls of tools, by name."""
    events = await platform.store.journal.events(run.run_id)
    return {event.body["name"]: event for event in events if event.kind is Kind.CALL_FINISHED and event.body}


async def test_small_amounts_need_nobody(platform: LocalPlatform) -> None:
    run = await start(platform, 12)
    row = await platform.gateway.wait("default", run.run_id, 40)
    assert row.status == "succeeded", row.error
    found = await calls(platform, run)
    assert (found["tool:refund"].body or {})["result"] == {"value": "refunded 12.00 for EL-20418"}
    assert "is with the carrier" in str(found["tool:order-history"].body)
    children = [each for each in await platform.store.journal.runs(RunQuery("default")) if each.parent_run == run.run_id]
    assert [each.workflow for each in children] == ["order-history"]


async def test_larger_ones_wait_for_a_person_who_may_change_them(platform: LocalPlatform) -> None:
    run = await start(platform, 30)
    async with asyncio.timeout(40):
        while not (asked := await platform.gateway.approvals("default", ApprovalQuery("default", run_id=run.run_id))):  # noqa: ASYNC110 - the row is in the database
            await asyncio.sleep(0.01)
    (question,) = asked
    assert question.show == {"tool": "refund", "args": {"order_id": "EL-20418", "amount": 30}}
    assert question.expires_at == question.requested_at + 48 * 3_600_000
    await platform.gateway.decide("default", question.approval_id, approved=True, form=FORM, by="ann")
    row = await platform.gateway.wait("default", run.run_id, 40)
    assert row.status == "succeeded", row.error
    assert "refunded 15.00 for EL-20418" in str((await calls(platform, run))["tool:refund"].body)
