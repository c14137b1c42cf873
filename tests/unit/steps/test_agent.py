"""How an agent step is handed to the agent loop: its surroundings, its tools, its journal of calls."""

from dataclasses import replace

import pytest

from runtime.agents.context import AgentOutcome
from runtime.errors import StepFailed
from runtime.steps.runner import StepRunner


def agent(**fields):
    return {"agent": {"prompt": "Add ${{ item }} and two.", **fields}}


async def test_simulated_agent_answers_without_a_network(run, make_call):
    schema = {"type": "object", "properties": {"total": {"type": "integer"}}, "required": ["total"]}
    call = make_call(agent(tools=["sample_steps:add_in_thread"], output=schema), items=["one", "four"], mode="simulated")
    results = await run(call)
    assert [result.error for result in results] == [None, None]
    assert all(isinstance(result.output["total"], int) and result.usage["simulated"] for result in results)


async def test_tools_follow_the_rules_of_functions(run, make_call):
    [result] = await run(make_call(agent(tools=["os:system"]), items=[1], mode="simulated"))
    assert (result.error["code"], result.error["retryable"]) == ("function_not_allowed", False)


@pytest.fixture
def contexts(monkeypatch):
    """The contexts the loop was given, instead of the loop."""
    given = []

    async def run_agent(spec, *, mode, default_model, context):
        given.append((spec, mode, default_model, context))
        return AgentOutcome("answer", {"calls": 1})

    monkeypatch.setattr("runtime.agents.loop.run_agent", run_agent)
    return given


async def test_loop_gets_what_concerns_its_item(services, make_call, contexts):
    recorded, observed = [], []

    async def record(call, index, body):
        recorded.append((call.run_id, index, body))

    runner = StepRunner(replace(services, record=record, observe=lambda *about: observed.append(about)))
    calls = ({"index": 0, "name": "model"}, {"index": 1, "name": "tool:x"}, {"index": 1, "name": "model"})
    call = make_call(agent(), items=["a", "b"], calls=calls, model="openai:some", timeout_ms=5000)
    results = [result async for batch in runner.execute([call]) for result in batch]
    assert [(result.output, result.usage) for result in results] == [("answer", {"calls": 1})] * 2
    spec, mode, model, context = contexts[1]
    assert (spec["prompt"], mode, model, context.timeout) == ("Add b and two.", "live", "openai:some", 5.0)
    assert [body["name"] for body in context.replay] == ["tool:x", "model"]
    await context.record({"name": "model", "n": 2})
    assert recorded == [("run-1", 1, {"name": "model", "n": 2})]
    context.observe("openai", "success", 0.5)
    assert observed == [("openai", "success", 0.5)]
    await runner.close()


async def test_tools_are_called_in_their_place(runner, make_call, contexts):
    async for _ in runner.execute([make_call(agent(), items=["a"])]):
        context = contexts[0][3]
    in_thread = context.resolve("sample_steps:add_in_thread")
    assert (await in_thread.invoke({"a": 1}))["thread"] == "step"
    assert await context.resolve("sample_steps:add").invoke({"a": 1, "b": 5}) == 6
    assert (await context.resolve("sample_steps:about").invoke({}))["index"] == 0
    with pytest.raises(StepFailed, match="'a' is missing"):
        await in_thread.invoke({})
