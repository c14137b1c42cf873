"""Tools that people approve, and workflows as tools, in whole runs: over HTTP, over both wires, across a restart, and simulated."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from runtime.agents.loop import warm
from runtime.agents.providers import Providers
from runtime.engine.events import Kind
from runtime.local import LocalPlatform
from runtime.store.protocol import RunQuery, RunRow
from tests.api import functions
from tests.api.test_agents import FUNCTIONS, client_of, end, journal, settings, start
from tests.support.openai_server import Received, Text, ToolCalls
from tests.support.wires import Given, Wire, wires

PAY = {"function": f"{FUNCTIONS}:pay", "approve": "args.amount > 10"}
LOOKUP = {
    "name": "look-up",
    "description": "Look a customer up.",
    "inputs": {"customer": {"type": "string"}, "deep": {"type": "boolean", "default": False}},
    "steps": {"found": {"set": {"text": "${{ inputs.customer }} owes 12"}}},
    "outputs": {"text": "steps.found.output.text"},
}


@pytest.fixture(params=["openai", "anthropic"])
async def wire(request, monkeypatch) -> AsyncIterator[Wire]:
    await warm()
    async with wires(request.param) as (made,):
        credentials = Given({made.provider: made.credential()})
        monkeypatch.setattr("runtime.steps.agent.Providers", lambda settings, *_rest: Providers(settings, credentials))
        yield made


@pytest.fixture
async def platform(tmp_path: Path) -> AsyncIterator[LocalPlatform]:
    functions.paid.clear()
    async with LocalPlatform(settings(tmp_path)) as running:
        yield running


def agent(wire: Wire, *tools: Any, **more: Any) -> dict[str, Any]:
    return {"answer": {"agent": {"prompt": "go", "model": wire.model, "tools": list(tools), **more.pop("agent", {})}, **more}}


async def until_waiting(platform: LocalPlatform, run: RunRow) -> RunRow:
    """The run once nobody owns it because it waits."""
    async with asyncio.timeout(40):
        while (row := await platform.gateway.run(run.tenant, run.run_id)).status != "waiting":
            assert not row.status.ended, row.error
            await platform.host.watch(run.run_id, row.head, 1)
    return row


async def asked(client: httpx2.AsyncClient, run: RunRow) -> list[dict[str, Any]]:
    """What the run asks people, oldest first."""
    return list(reversed((await client.get("/v1/approvals", params={"run_id": run.run_id})).json()["approvals"]))


async def test_a_call_is_approved_with_other_arguments_over_http(wire: Wire, platform: LocalPlatform) -> None:
    wire.server.say(ToolCalls(("pay", {"amount": 100}), ("pay", {"amount": 5})), Text("done"))
    run = await start(platform, agent(wire, PAY))
    assert (await until_waiting(platform, run)).waiting_for == "approval"
    assert functions.paid == [5], "what nobody has to approve does not wait"
    async with client_of(platform) as client:
        (question,) = await asked(client, run)
        assert question["show"] == {"tool": "pay", "args": {"amount": 100}}
        assert question["message"] == 'The agent wants to call pay with {"amount":100}'
        assert question["form"]["properties"]["args"]["properties"]["amount"]["type"] == "integer"
        (step,) = (await client.get(f"/v1/runs/{run.run_id}/steps")).json()["steps"]
        assert (step["status"], step["waiting"]) == ("waiting", {"for": "approval", "calls": 1})
        address = f"/v1/approvals/{question['approval_id']}:decide"
        wrong = await client.post(address, json={"approved": True, "form": {"args": {"amount": "all"}}})
        assert (wrong.status_code, wrong.json()["errors"][0]["pointer"]) == (422, "/form/args/amount")
        decided = await client.post(address, json={"approved": True, "form": {"args": {"amount": 50}}, "comment": "half"})
        assert (decided.status_code, decided.json()["decision"]["form"]) == (200, {"args": {"amount": 50}})
        row = await end(platform, run)
        assert (await client.post(address, json={"approved": False})).status_code == 409
    assert (row.status, row.result, functions.paid, wire.server.calls) == ("succeeded", {"answer": "done"}, [5, 50], 2)
    told = wire.server.requests[1].texts("tool")
    assert "a person has changed the arguments of this call" in told[0]
    kinds = [event.kind.value for event in await journal(platform, run) if event.kind.value.startswith(("call.w", "call.a", "approval", "step"))]
    assert kinds == [
        *("step.started", "call.waiting", "approval.requested", "step.waiting"),
        *("approval.resolved", "call.answered", "step.started", "step.succeeded"),
    ]


async def test_a_workflow_as_a_tool(wire: Wire, platform: LocalPlatform) -> None:
    await platform.gateway.publish("default", LOOKUP)
    wire.server.say(ToolCalls(("look-up", {"customer": "ann"}), ("look-up", {"customer": "bob", "deep": True})), Text("24"))
    run = await start(platform, agent(wire, {"workflow": "look-up"}))
    row = await end(platform, run)
    assert (row.status, row.result, wire.server.calls) == ("succeeded", {"answer": "24"}, 2)
    assert ["owes 12" in told for told in wire.server.requests[1].texts("tool")] == [True, True]
    (tool,) = wire.server.requests[0].body["tools"]
    told = tool.get("function", tool)
    assert (told["name"], told["description"]) == ("look-up", "Look a customer up.")
    schema = told.get("parameters") or told["input_schema"]
    assert (set(schema["properties"]), schema["required"]) == ({"customer", "deep"}, ["customer"])
    children = [each for each in await platform.store.journal.runs(RunQuery("default")) if each.parent_run == run.run_id]
    assert {(each.workflow, each.parent_step, each.mode) for each in children} == {("look-up", "answer", "live")}
    started = [event.body["id"] for event in await journal(platform, run, Kind.CALL_WAITING)]
    assert sorted(started) == sorted(each.run_id for each in children)


async def test_a_workflow_is_run_as_the_model_was_told_of_it(wire: Wire, platform: LocalPlatform) -> None:
    """It is published anew between the model's decision and the run; all attempts see the tool as it was."""
    await platform.gateway.publish("default", LOOKUP)
    wire.server.say(ToolCalls(("look-up", {"customer": "ann"})), Text("done"))
    run = await start(platform, agent(wire, {"workflow": "look-up", "approve": "always", "description": "Ask the books."}))
    await until_waiting(platform, run)
    await platform.gateway.publish("default", LOOKUP | {"inputs": {"id": {"type": "integer"}}, "steps": {"found": {"set": {"text": "other"}}}})
    async with client_of(platform) as client:
        (question,) = await asked(client, run)
        await client.post(f"/v1/approvals/{question['approval_id']}:decide", json={"approved": True})
    assert (await end(platform, run)).status == "succeeded"
    assert "ann owes 12" in wire.server.requests[1].texts("tool")[0]
    assert "Ask the books." in str(wire.server.requests[1].body["tools"])


async def test_a_workflow_that_fails_is_told_to_the_model(wire: Wire, platform: LocalPlatform) -> None:
    failing = {"steps": {"found": {"python": {"function": f"{FUNCTIONS}:double", "args": {"n": 13}}, "retry": {"max_attempts": 1}}}, "outputs": {}}
    await platform.gateway.publish("default", LOOKUP | failing)
    wire.server.say(ToolCalls(("look-up", {"customer": "ann"})), Text("sorry"))
    assert (await end(platform, await start(platform, agent(wire, {"workflow": "look-up"})))).result == {"answer": "sorry"}
    assert "the run has failed: ValueError: thirteen" in wire.server.requests[1].texts("tool")[0]


@pytest.mark.parametrize(("entry", "code"), [({"workflow": "nowhere"}, "tool_not_found"), ({"workflow": "look-up", "version": "0" * 64}, "tool_not_found")])
async def test_workflows_that_are_not_there(wire: Wire, platform: LocalPlatform, entry: dict[str, Any], code: str) -> None:
    await platform.gateway.publish("default", LOOKUP)
    await platform.gateway.publish("other", LOOKUP | {"name": "nowhere"})
    row = await end(platform, await start(platform, agent(wire, entry)))
    assert ((row.error or {})["code"], wire.server.calls) == (code, 0)


async def test_items_wait_each_for_itself(wire: Wire, platform: LocalPlatform) -> None:
    def answer(request: Received) -> Any:
        return Text(request.texts("user")[0]) if request.texts("tool") else ToolCalls(("pay", {"amount": int(request.texts("user")[0][-2:])}))

    wire.server.default = answer
    run = await start(platform, agent(wire, PAY, agent={"prompt": "pay ${{ item }}"}, map={"over": "[10, 20, 30]"}))
    await until_waiting(platform, run)
    async with client_of(platform) as client:
        address = f"/v1/runs/{run.run_id}/steps"
        (step,) = (await client.get(address)).json()["steps"]
        counts = [step["items"][state] for state in ("succeeded", "waiting", "running", "pending")]
        assert counts == [1, 2, 0, 0]
        waiting = (await client.get(f"{address}/answer/items", params={"status": "waiting"})).json()["items"]
        assert [(item["index"], item["status"]) for item in waiting] == [(1, "waiting"), (2, "waiting")]
        for question in await asked(client, run):
            approved = question["show"]["index"] == 2
            assert question["show"]["args"] == {"amount": 10 * (question["show"]["index"] + 1)}
            await client.post(f"/v1/approvals/{question['approval_id']}:decide", json={"approved": approved})
    row = await end(platform, run)
    assert (row.result, sorted(functions.paid), wire.server.calls) == ({"answer": ["pay 10", "pay 20", "pay 30"]}, [10, 30], 6)


async def test_a_platform_that_restarts_while_calls_wait(wire: Wire, tmp_path: Path) -> None:
    functions.paid.clear()
    wire.server.say(ToolCalls(("pay", {"amount": 100}), ("look-up", {"customer": "ann"})), Text("done"))
    async with LocalPlatform(settings(tmp_path)) as before:
        await before.gateway.publish("default", LOOKUP)
        run = await start(before, agent(wire, PAY, {"workflow": "look-up"}))
        await until_waiting(before, run)
    async with LocalPlatform(settings(tmp_path)) as after:
        async with client_of(after) as client:
            (question,) = await asked(client, run)
            await client.post(f"/v1/approvals/{question['approval_id']}:decide", json={"approved": True})
        row = await end(after, run)
        assert (row.result, functions.paid, wire.server.calls) == ({"answer": "done"}, [100], 2)
        assert len([each for each in await after.store.journal.runs(RunQuery("default")) if each.parent_run == run.run_id]) == 1


async def test_simulated_runs_wait_for_people_and_run_workflows_simulated(platform: LocalPlatform) -> None:
    await platform.gateway.publish("default", LOOKUP | {"steps": {"found": {"agent": {"prompt": "Find."}}}, "outputs": {"text": "steps.found.output"}})
    tools = [PAY | {"approve": "always"}, {"workflow": "look-up"}]
    run = await start(platform, {"answer": {"agent": {"prompt": "Pay. amount: 7, customer: ann", "tools": tools}}}, mode="simulated")
    await until_waiting(platform, run)
    async with client_of(platform) as client:
        (question,) = await asked(client, run)
        assert question["show"] == {"tool": "pay", "args": {"amount": 7}}
        await client.post(f"/v1/approvals/{question['approval_id']}:decide", json={"approved": True})
    row = await end(platform, run)
    assert (row.status, functions.paid) == ("succeeded", [7])
    assert row.result["answer"].startswith("[simulated] ")
    (child,) = [each for each in await platform.store.journal.runs(RunQuery("default")) if each.parent_run == run.run_id]
    assert (child.mode, child.status) == ("simulated", "succeeded")
