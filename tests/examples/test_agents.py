"""The examples of docs/agents.md, run as they stand there."""

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from runtime.agents.loop import warm
from runtime.agents.providers import Providers
from runtime.engine.events import Kind
from runtime.gateway import StartRequest
from runtime.local import LocalPlatform
from runtime.settings import Settings
from runtime.store.money_protocol import UsageQuery
from runtime.store.protocol import RunQuery
from tests.support.openai_server import Refuse, Text, ToolCalls
from tests.support.wires import Given, wires

TEXT = (Path(__file__).parents[2] / "docs" / "agents.md").read_text()
BLOCKS = {yaml.safe_load(block)["name"]: block for block in re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL) if block.startswith("name:")}
INPUTS: dict[str, dict[str, Any]] = {"draft-and-revise": {"topic": "pumps"}, "support-chat": {"thread": "t-1", "text": "Why does my pump leak?"}}


@pytest.fixture
async def platform(tmp_path: Path) -> AsyncIterator[LocalPlatform]:
    async with LocalPlatform(Settings(home=tmp_path, drain_ms=100)) as running:
        yield running


async def carry_out(platform: LocalPlatform, name: str, mode: str = "simulated") -> Any:
    await platform.gateway.publish("default", BLOCKS[name])
    run = (await platform.gateway.start("default", StartRequest(name, INPUTS.get(name, {}), mode=mode))).run
    row = await platform.gateway.wait("default", run.run_id, 40)
    assert row.status == "succeeded", row.error
    return row.result


def test_there_is_one_for_each_feature() -> None:
    assert set(BLOCKS) == {"keep-going", "draft-and-revise", "support-chat", "read-scans", "bounded", "paid-once"}


@pytest.mark.parametrize("name", BLOCKS)
async def test_simulated(platform: LocalPlatform, name: str) -> None:
    assert await carry_out(platform, name)


async def test_the_chat_goes_on(platform: LocalPlatform) -> None:
    for _ in range(2):
        await carry_out(platform, "support-chat")
    assert len(await platform.store.conversations.page("default", "simulated/t-1", after=0, limit=10)) == 2


@pytest.mark.parametrize("name", ["keep-going", "bounded"])
async def test_live(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    await warm()
    async with wires("anthropic", "openai") as (first, second):
        credentials = Given({wire.provider: wire.credential() for wire in (first, second)})
        monkeypatch.setattr("runtime.steps.agent.Providers", lambda settings, *_rest: Providers(settings, credentials))
        monkeypatch.setitem(BLOCKS, "bounded", BLOCKS["bounded"].replace("name: bounded", "name: bounded\ndefaults: {model: 'openai:m'}"))
        first.server.default = lambda request: Refuse(529)
        second.server.default = lambda request: Text("Because seals wear out.")
        async with LocalPlatform(Settings(home=tmp_path, drain_ms=100)) as platform:
            assert await carry_out(platform, name, mode="live") == {"answer": "Because seals wear out."}


async def test_what_was_answered_before_a_failure_is_not_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await warm()
    async with wires("openai") as (wire,):
        monkeypatch.setattr("runtime.steps.agent.Providers", lambda settings, *_rest: Providers(settings, Given({"openai": wire.credential()})))
        wire.server.say(ToolCalls(("search_manual", {"query": "leak"})), Refuse(503), Text("The seal is worn."))
        async with LocalPlatform(Settings(home=tmp_path, drain_ms=100)) as platform:
            assert await carry_out(platform, "paid-once", mode="live") == {"answer": "The seal is worn."}
            (run,) = await platform.store.journal.runs(RunQuery("default"))
            events = await platform.store.journal.events(run.run_id)
            (total,) = await platform.store.money.usage(UsageQuery("default", root_run=run.run_id))
    calls = [event.body["name"] for event in events if event.kind is Kind.CALL_FINISHED]
    assert calls.count("model") == 2
    assert calls.count("tool:search_manual") == 1
    assert (wire.server.calls, total.calls) == (3, 2)
