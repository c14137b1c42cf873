"""The page about money says nothing that is not so, and its example works."""

import asyncio
import re
from pathlib import Path

import pytest

from runtime.agents import budget as layer
from runtime.agents import estimate
from runtime.agents.loop import warm
from runtime.budgets import service
from runtime.definition.validation import parse
from runtime.gateway import StartRequest
from runtime.local import LocalPlatform
from runtime.money import purse
from runtime.settings import Settings
from runtime.store.money_protocol import GROUPS, UsageQuery
from tests.support.openai_server import openai_server

TEXT = (Path(__file__).parents[2] / "docs" / "money.md").read_text()
(SOURCE,) = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)


async def test_the_example_asks_and_goes_on(tmp_path: Path) -> None:
    loaded = parse(SOURCE)
    await warm()
    async with openai_server() as server:
        settings = Settings(home=tmp_path, openai_base_url=server.url, openai_api_key="k", run_mode="live", drain_ms=100)
        async with LocalPlatform(settings) as platform:
            gateway = platform.gateway
            await gateway.publish("default", SOURCE)
            request = StartRequest(loaded.definition.name, {"texts": ["a", "b"]}, budget={"calls": 1})
            run = (await gateway.start("default", request)).run
            async with asyncio.timeout(40):
                while (row := await gateway.run("default", run.run_id)).status != "paused":
                    await platform.host.watch(run.run_id, row.head, 1)
            assert (row.waiting_for, server.calls) == ("budget", 1)
            await gateway.resume("default", run.run_id, budget={"calls": 50})
            row = await gateway.wait("default", run.run_id, 40)
            assert (row.status, server.calls) == ("succeeded", 2)
            assert await gateway.shown(row.result) == {"summaries": ["an answer", "an answer"]}


def test_numbers_are_those_of_the_code() -> None:
    for figure in (f"{estimate.OUTPUT_TOKENS:,}", f"{estimate.AROUND_TOKENS:,} tokens", f"at most {estimate.IMAGE_TOKENS:,}", f"{service.MAX_NAMED:,} budgets"):
        assert figure in TEXT
    assert f"up to {layer.PATIENCE_SECONDS / 60:.0f} minutes" in TEXT
    assert purse.EXPIRES_MS == 3_600_000
    assert "after an hour" in TEXT
    assert f"`ledger_days` ({Settings().ledger_days:.0f}" in TEXT


@pytest.mark.parametrize("group", GROUPS)
def test_groups_are_named(group: str) -> None:
    assert f"`{group}`" in TEXT
    assert UsageQuery("t", (group,)).group_by
