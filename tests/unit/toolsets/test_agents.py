"""Agents that use tools of others: journalled, replayed without anybody, carried out by the whole platform."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from runtime.agents.context import AgentContext
from runtime.agents.loop import run_agent, warm
from runtime.agents.providers import Providers
from runtime.engine.events import Kind
from runtime.errors import StepFailed
from runtime.gateway import StartRequest
from runtime.local import LocalPlatform
from runtime.settings import Settings
from tests.support.mcp_server import McpProcess, mcp_server
from tests.support.openai_server import OpenAIServer, Text, ToolCalls, openai_server

pytestmark = [pytest.mark.timeout(240), pytest.mark.slow]
ENTRIES = [{"mcp": "test", "tools": ["add"]}, {"openapi": "pets", "operations": ["addPet"]}]


@pytest.fixture
async def model() -> AsyncIterator[OpenAIServer]:
    async with openai_server() as running:
        yield running


@pytest.fixture
async def server() -> AsyncIterator[McpProcess]:
    async with mcp_server() as running:
        yield running


def around(api, server) -> dict[str, Any]:
    return {"apis": {"pets": {"document": f"{api.url}/openapi.json"}}, "mcp_servers": {"test": {"url": server.url}}, "outbound_allow": ["127.0.0.1"]}


async def attempt(model, toolsets, journal, **agent):
    """One attempt of the step, which goes on with what the journal holds."""
    providers = Providers(Settings(openai_base_url=model.url, openai_api_key="k"))
    given = tuple(journal)

    async def record(body):
        journal.append(body)

    def resolve(reference):
        raise AssertionError(reference)

    try:
        context = AgentContext(providers, resolve, timeout=30, replay=given, record=record, toolsets=toolsets)
        return await run_agent({"prompt": "go", "tools": ENTRIES, **agent}, mode="live", default_model="openai:m", context=context)
    finally:
        await providers.aclose()


def script(model):
    model.say(
        ToolCalls(("test_add", {"a": 1, "b": 2})),
        ToolCalls(("pets_addPet", {"body": {"name": "rex"}}), ("test_add", {"a": "x"})),
        Text("done"),
    )


async def test_a_replay_asks_nobody(model, server, api, open_toolsets):
    journal: list[dict[str, Any]] = []
    script(model)
    first = await attempt(model, open_toolsets(**around(api, server)), journal)
    assert first.output == "done"
    assert [body["name"] for body in journal] == ["tools", "model", "tool:test_add", "model", "tool:pets_addPet", "model"]
    assert len(str(journal[0])) < 300  # the descriptions are kept once for all items of a map
    assert "'x' is not of type" in str(model.requests[2].texts("tool")) or "not of type" in str(model.requests[2].body)
    told = {tool["function"]["name"]: tool["function"] for tool in model.requests[0].body["tools"]}
    assert set(told) == {"test_add", "pets_addPet"}
    assert told["test_add"]["description"] == "Add two numbers."
    # The server is gone, the document has become another one: the attempt after a crash does not even notice.
    server.kill()
    api.document = {"openapi": "3.1.0", "paths": {}}
    asked, calls = len(api.asked), model.calls
    again = await attempt(model, open_toolsets(**around(api, server)), list(journal))
    assert (again.output, again.usage["replayed"]) == ("done", 5)
    assert (len(api.asked), model.calls) == (asked, calls)


async def test_what_is_missing_in_the_journal_is_done_once_more_with_the_same_key(model, server, api, open_toolsets):
    journal: list[dict[str, Any]] = []
    script(model)
    await attempt(model, open_toolsets(**around(api, server)), journal)
    del journal[4:]  # the process has died between the answer of the API and its journal entry
    model.say(Text("done again"))
    again = await attempt(model, open_toolsets(**around(api, server)), journal)
    assert again.output == "done again"
    keys = [asked.headers["idempotency-key"] for asked in api.calls]
    assert len(keys) == 2
    assert keys[0] == keys[1]
    assert (await server.counts())["add"] == 1


async def test_failures_are_told_to_the_model_and_journalled(model, server, api, open_toolsets):
    journal: list[dict[str, Any]] = []
    model.say(ToolCalls(("test_fail", {"why": "so"}), ("test_huge", {"size": 100_000})), Text("done"))
    await attempt(model, open_toolsets(**around(api, server)), journal, tools=[{"mcp": "test"}])
    told = model.requests[1].texts("tool")
    assert "fail" in told[0]
    assert "at most 65536 can be used" in told[1]
    assert [body["result"].keys() for body in journal if body["name"].startswith("tool:")] == [{"failed"}, {"failed"}]


async def test_two_tools_of_one_name(model, server, api, open_toolsets):
    with pytest.raises(StepFailed, match="two tools of this agent are called 'test_add'"):
        await attempt(model, open_toolsets(**around(api, server)), [], tools=[{"mcp": "test", "tools": ["add"]}, {"mcp": "test", "tools": ["add"]}])


async def test_simulated_runs_stay_off_the_network(api, open_toolsets):
    toolsets = open_toolsets(apis={"pets": {"document": f"{api.url}/openapi.json"}})
    context = AgentContext(Providers(Settings(), {}), lambda reference: None, toolsets=toolsets)
    outcome = await run_agent({"prompt": "Pumps fail.", "tools": ENTRIES}, mode="simulated", default_model=None, context=context)
    assert outcome.output.startswith("[simulated] ")
    assert api.asked == []


async def test_the_whole_platform(model, server, api, tmp_path):
    """A run whose agent calls a tool of an MCP server and an operation of an API, each once, in the journal of the run."""
    await warm()
    script(model)
    settings = Settings(home=tmp_path, openai_base_url=model.url, openai_api_key="k", run_mode="live", drain_ms=100, **around(api, server))
    document = {"name": "tools", "steps": {"work": {"agent": {"model": "openai:m", "prompt": "go", "tools": ENTRIES}, "timeout": "120s"}}}
    async with LocalPlatform(settings) as platform:
        await platform.gateway.publish("default", document)
        run = (await platform.gateway.start("default", StartRequest("tools"))).run
        async with asyncio.timeout(200):
            while not (row := await platform.gateway.run("default", run.run_id)).status.ended:
                await platform.host.watch(run.run_id, row.head, 1)
        events = await platform.store.journal.events(run.run_id)
    assert row.status == "succeeded"
    calls = [event.body["name"] for event in events if event.kind is Kind.CALL_FINISHED]
    assert calls == ["tools", "model", "tool:test_add", "model", "tool:pets_addPet", "model"]
    assert (await server.counts())["add"] == 1
    assert [asked.path for asked in api.calls] == ["/v1/pets"]
