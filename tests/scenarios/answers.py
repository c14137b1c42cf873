"""What an agent step answers with: tools, structured output, MCP, another model, what was kept, and what was said before."""

from typing import Any
from uuid import uuid4

from tests.scenarios.stage import Stage
from tests.support.openai_server import Output, Received, Refuse, Text, ToolCalls

PRICES = {"openai-compatible": "0", "anthropic": "0.00045"}
"""What 100 tokens in and 10 out cost at the models of the two wires."""


async def tool_use(stage: Stage) -> None:
    """Two tools in one turn, side by side, and what they said in the next."""
    file = str(stage.folder / "sums")
    stage.wire.server.say(ToolCalls(("add", {"file": file, "a": 1, "b": 2}), ("add", {"file": file, "a": 20, "b": 19})), Text("3 and 39"))
    run_id = await stage.start(
        {"answer": {"agent": stage.agent("Add.", instructions="You add.", tools=[stage.tool("add")])}}, outputs={"text": "steps.answer.output"}
    )
    run = await stage.succeeded(run_id)
    assert run["output"] == {"text": "3 and 39"}
    assert sorted(stage.lines("sums")) == ["1+2", "20+19"]
    first, second = stage.wire.server.requests
    assert (first.tools, first.texts("user"), first.texts("tool")) == (["add"], ["Add."], [])
    assert "You add." in first.texts("system")[0]
    assert second.texts("tool") == ["3", "39"]
    models, tools = await stage.calls(run_id), await stage.calls(run_id, "tool:add")
    assert [(call["n"], call["usage"]["provider"], call["usage"]["model"]) for call in models] == [(n, stage.wire.provider, stage.wire.model) for n in (1, 2)]
    assert [(call["usage"]["input_tokens"], call["usage"]["output_tokens"]) for call in models] == [(100, 10)] * 2
    assert all(call["usage"]["latency_ms"] >= 0 for call in models)
    assert sorted(call["result"]["value"] for call in tools) == [3, 39]
    assert len({call["id"] for call in tools}) == 2
    used = run["usage"]
    assert (used["calls"], used["input_tokens"], used["output_tokens"]) == (2, 200, 20)
    assert float(used["usd"]) == 2 * float(PRICES[stage.wire.provider])
    assert [event["attempt"] for event in await stage.events(run_id, "step.started")] == [1]


async def structured_output_with_repair(stage: Stage) -> None:
    """An answer that does not fit goes back with what is wrong; the one that fits is the output, and both are paid for."""
    schema = {
        "type": "object",
        "required": ["title", "score"],
        "properties": {"title": {"type": "string"}, "score": {"type": "integer", "minimum": 1, "maximum": 10}},
    }
    stage.wire.server.say(Output({"title": "Pumps", "score": 11}), Output({"title": "Pumps", "score": 7}))
    run_id = await stage.start(
        {"judge": {"agent": stage.agent("Judge.", output=schema)}}, outputs={"score": "steps.judge.output.score", "all": "steps.judge.output"}
    )
    run = await stage.succeeded(run_id)
    assert run["output"] == {"score": 7, "all": {"title": "Pumps", "score": 7}}
    _, repair = stage.wire.server.requests
    (complaint,) = repair.texts("tool")
    assert "score" in complaint
    assert "10" in complaint
    assert (run["usage"]["calls"], len(await stage.calls(run_id))) == (2, 2)
    assert await stage.events(run_id, "step.retrying") == []


async def mcp(stage: Stage) -> None:
    """A tool of a server over streamable HTTP: listed, narrowed to what the step names, called once, and journalled."""
    before = await stage.mcp.counts()
    stage.wire.server.say(ToolCalls(("numbers_add", {"a": 2, "b": 40})), Text("42"))
    run_id = await stage.start(
        {"answer": {"agent": stage.agent("Add.", tools=[{"mcp": "numbers", "tools": ["add"]}])}}, outputs={"text": "steps.answer.output"}
    )
    assert (await stage.succeeded(run_id))["output"] == {"text": "42"}
    first, second = stage.wire.server.requests
    assert first.tools == ["numbers_add"]
    assert "42" in second.texts("tool")[0]
    after = await stage.mcp.counts()
    assert after["add"] - before.get("add", 0) == 1
    assert after["versions"], "the tools were listed"
    assert after["keys"][-1], "the call came with a key that tells it from others"
    assert len(await stage.calls(run_id, "tools")) == 1
    assert len(await stage.calls(run_id, "tool:numbers_add")) == 1


async def fallback(stage: Stage) -> None:
    """A model that is not there is asked once; the other one, on the other wire, answers this turn and all that follow."""
    file = str(stage.folder / "sums")
    stage.wire.server.default = lambda request: Refuse(529)
    stage.other.server.say(ToolCalls(("add", {"file": file, "a": 1, "b": 1})), Text("two"))
    agent = stage.agent("Add.", tools=[stage.tool("add")]) | {"model": [stage.wire.model, stage.other.model]}
    run_id = await stage.start({"answer": {"agent": agent}}, outputs={"text": "steps.answer.output"})
    run = await stage.succeeded(run_id)
    assert run["output"] == {"text": "two"}
    assert (stage.wire.server.calls, stage.other.server.calls) == (1, 2)
    (moved,) = await stage.calls(run_id, "fallback")
    assert moved["result"] == {"model": stage.other.model, "instead_of": stage.wire.model, "because": "provider_unavailable"}
    answered = await stage.calls(run_id)
    assert [call["result"]["metadata"]["answered_by"] for call in answered] == [stage.other.model] * 2
    assert {call["usage"]["model"] for call in answered} == {stage.other.model}
    assert run["usage"]["calls"] == 2, "a request without an answer costs nothing"
    assert await stage.events(run_id, "step.retrying") == []


async def cache(stage: Stage) -> None:
    """The same question of another run is not asked again: the journal says so, and that it was free. Another question is asked."""
    prompt = f"What is {uuid4()}?"

    async def answered(prompt: str) -> tuple[dict[str, Any], dict[str, Any]]:
        run_id = await stage.start({"answer": {"agent": stage.agent(prompt, cache={"ttl": "1h"})}}, outputs={"text": "steps.answer.output"})
        run = await stage.succeeded(run_id)
        (call,) = await stage.calls(run_id)
        return run, call

    stage.wire.server.say(Text("a kept answer"), Text("another answer"))
    first, asked = await answered(prompt)
    second, kept = await answered(prompt)
    assert stage.wire.server.calls == 1
    assert first["output"] == second["output"] == {"text": "a kept answer"}
    assert ("cached" in asked, kept["cached"]) == (False, True)
    assert [(run["usage"]["calls"], run["usage"]["cached_calls"], run["usage"]["input_tokens"]) for run in (first, second)] == [(1, 0, 100), (1, 1, 0)]
    assert float(second["usage"]["usd"]) == 0
    if stage.wire.provider == "anthropic":
        assert float(kept["usage"]["saved_usd"]) == float(first["usage"]["usd"]) == float(PRICES["anthropic"])
    third, _ = await answered(f"{prompt} Really?")
    assert (third["output"], stage.wire.server.calls) == ({"text": "another answer"}, 2)


async def history(stage: Stage) -> None:
    """A step goes on where an earlier one left off, and a run where an earlier run left off."""

    def answer(request: Received) -> Any:
        return Text(f"answer to {request.texts('user')[-1]}")

    stage.wire.server.default = answer
    steps = {
        "draft": {"agent": stage.agent("${{ inputs.text }}", conversation="${{ inputs.thread }}")},
        "revise": {"agent": stage.agent("Shorter.", history="${{ steps.draft.messages }}")},
    }
    inputs = {"text": {"type": "string"}, "thread": {"type": "string"}}
    thread = f"customer-{uuid4()}"
    for text in ("one", "two"):
        run_id = await stage.start(steps, {"text": text, "thread": thread}, inputs=inputs, outputs={"text": "steps.revise.output"})
        assert (await stage.succeeded(run_id))["output"] == {"text": "answer to Shorter."}
    asked = [(request.texts("user"), request.texts("assistant")) for request in stage.wire.server.requests]
    assert asked[0] == (["one"], [])
    assert asked[1] == (["one", "Shorter."], ["answer to one"])
    assert asked[2] == (["one", "two"], ["answer to one"])
    assert asked[3][0][-2:] == ["two", "Shorter."]
    assert len(asked) == 4
    kept = (await stage.api.get(f"/v1/conversations/{thread}")).json()
    said = [[(message["role"], message["content"]) for message in exchange["messages"]] for exchange in kept["exchanges"]]
    assert said == [[("user", text), ("assistant", f"answer to {text}")] for text in ("one", "two")]
