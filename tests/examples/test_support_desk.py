"""An agent with tools, simulated and against a model server."""

from pathlib import Path

import pytest

from examples.support_desk.functions import search_manual
from runtime.local import LocalPlatform
from runtime.settings import Settings
from tests.examples.conftest import Desk
from tests.support.openai_server import Output, ToolCalls, openai_server

PATH = "support_desk/workflow.yaml"


async def test_simulated_it_uses_both_tools(desk):
    run = await desk.start(PATH)
    outputs = await desk.outputs(run)
    assert outputs["answer"]["reply"].startswith("[simulated] ")
    events = await desk.gateway.events("default", run.run_id)
    called = [event.body["name"] for event in events if event.kind == "call.finished"]
    assert called == ["tool:search_manual", "tool:order_status"]
    assert "with the carrier" in str([event.body["result"] for event in events if event.kind == "call.finished"])


@pytest.mark.parametrize(("confidence", "road"), [(0.9, "send"), (1, "send"), (0.2, "hand_over")])
async def test_with_a_model(tmp_path: Path, confidence, road):
    answer = {"category": "order", "reply": "It is with the carrier.", "confidence": confidence, "sources": []}
    async with openai_server() as server:
        server.say(ToolCalls(("order_status", {"order_id": "EL-20418"}), ("search_manual", {"query": "pump pressure"})), Output(answer))
        async with LocalPlatform(Settings(home=tmp_path, drain_ms=1000, openai_base_url=server.url, openai_api_key="test")) as platform:
            desk = Desk(platform)
            run = await desk.start(PATH, mode="live")
            assert await desk.outputs(run) == {"answer": answer, "road": road}
            events = await platform.gateway.events("default", run.run_id)
    assert [event.body["name"] for event in events if event.kind == "call.finished"] == ["model", "tool:order_status", "tool:search_manual", "model"]
    told = server.requests[1].texts("tool")
    assert "with the carrier" in told[0]
    assert "suction coupling" in told[1]


async def test_the_manual_is_found_by_words():
    assert len(await search_manual("my pump loses pressure")) >= 1
    assert await search_manual("violins") == []
