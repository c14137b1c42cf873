"""The loop with a real HTTP conversation: answers, tools, structured output, limits."""

import asyncio
from typing import Any

import pytest

from runtime.agents.context import AgentContext
from runtime.agents.loop import run_agent
from runtime.agents.tools import schema_of
from runtime.errors import StepFailed
from tests.support.openai_server import Output, Raw, Text, ToolCalls

NOTE = {
    "type": "object",
    "required": ["title", "score"],
    "properties": {"title": {"type": "string"}, "score": {"type": "integer", "minimum": 1, "maximum": 5}},
}


async def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


async def test_text(server, live):
    server.say(Text("blue"))
    seen = []
    outcome = await live(instructions="Be brief.", prompt="Which colour?", temperature=0.5, max_tokens=77, observe=lambda *call: seen.append(call))
    assert outcome.output == "blue"
    assert outcome.usage == {"calls": 1, "tool_calls": 0, "input_tokens": 100, "output_tokens": 10, "cost_usd": None, "model": "openai:test-model"}
    request = server.requests[0]
    assert request.texts("system") + request.texts("developer") == ["Be brief."]
    assert request.texts("user") == ["Which colour?"]
    assert request.body["temperature"] == 0.5
    assert 77 in (request.body.get("max_tokens"), request.body.get("max_completion_tokens"))
    assert request.headers["authorization"] == "Bearer sk-secret-of-the-test"
    assert [(provider, status) for provider, status, _ in seen] == [("openai", "success")]
    assert 0 < seen[0][2] < 20


async def test_cost_of_a_known_model(server, live):
    outcome = await live(model="openai:gpt-4o")
    assert 0 < outcome.usage["cost_usd"] < 0.01


async def test_the_steps_model_comes_before_the_workflows(server, providers, functions):
    context = AgentContext(providers, functions.resolve)
    await run_agent({"prompt": "x", "model": "openai:own"}, mode="live", default_model="openai:default", context=context)
    assert server.requests[0].body["model"] == "own"


async def test_structured_output(server, live):
    server.say(Output({"title": "Pumps", "score": 4}))
    outcome = await live(output=NOTE)
    assert outcome.output == {"title": "Pumps", "score": 4}


@pytest.mark.parametrize(
    ("schema", "value"),
    [({"type": "array", "items": {"type": "integer"}}, [1, 2]), ({"enum": ["yes", "no"]}, "no"), ({"type": "number"}, 1.5), ({}, None), (True, {"a": 1})],
)
async def test_output_that_is_no_object_is_asked_for_in_a_field(server, live, schema, value):
    server.say(Output({"value": value}))
    assert (await live(output=schema)).output == value


async def test_definitions_within_a_schema(server, live):
    schema = {"type": "array", "items": {"$ref": "#/$defs/n"}, "$defs": {"n": {"type": "integer", "maximum": 9}}}
    server.say(Output({"value": [10]}), Output({"value": [9]}))
    assert (await live(output=schema)).output == [9]
    assert server.calls == 2


async def test_a_schema_that_refers_to_itself_is_asked_for_as_text(server, live):
    schema = {"type": "object", "properties": {"children": {"type": "array", "items": {"$ref": "#"}}}, "additionalProperties": False}
    server.say(Text('```json\n{"children": [{"name": 1}]}\n```'), Text('{"children": [{"children": []}]}'))
    assert (await live(output=schema)).output == {"children": [{"children": []}]}
    assert any("JSON Schema" in text for text in server.requests[0].texts("system") + server.requests[0].texts("developer"))
    assert "/children/0" in str(server.requests[1].messages[-1])


async def test_a_wrong_answer_is_repaired(server, live):
    server.say(
        Output({"title": "Pumps", "score": 9}),
        Text("I would say four"),
        ToolCalls(("final_result", '{"title": "Pumps", ')),
        Output({"title": "Pumps", "score": 4}),
    )
    outcome = await live(output=NOTE)
    assert outcome.output == {"title": "Pumps", "score": 4}
    assert outcome.usage["calls"] == 4
    assert "/score" in str(server.requests[1].messages[-1])


async def test_an_answer_that_stays_wrong(server, live):
    server.default = lambda request: Output({"title": 1})
    with pytest.raises(StepFailed) as caught:
        await live(output=NOTE)
    assert caught.value.error_code == "model_output_invalid"
    assert caught.value.retryable
    assert caught.value.details["usage"]["calls"] == server.calls == 4


async def test_tools(server, live, functions):
    reference = functions.add(add)
    server.say(ToolCalls(("add", {"a": 2, "b": 3}), ("add", {"a": 5, "b": 5})), Text("15"))
    outcome = await live(tools=[reference])
    assert outcome.output == "15"
    assert sorted(args["a"] for _, args in functions.called) == [2, 5]
    assert outcome.usage["tool_calls"] == 2
    told = server.requests[0].body["tools"][0]["function"]
    assert told["name"] == "add"
    assert told["description"] == "Add two numbers."
    assert set(told["parameters"]["required"]) == {"a", "b"}
    assert server.requests[1].texts("tool") == ["5", "10"]


async def test_wrong_arguments_go_back_to_the_model_and_not_to_the_tool(server, live, functions):
    reference = functions.add(add)
    server.say(ToolCalls(("add", {"a": "two"})), ToolCalls(("add", {"a": 2, "b": 3})), Text("5"))
    assert (await live(tools=[reference])).output == "5"
    assert functions.called == [("add", {"a": 2, "b": 3})]


async def test_an_unknown_tool_is_refused_by_the_loop(server, live, functions):
    reference = functions.add(add)
    server.say(ToolCalls(("delete_everything", {})), Text("never mind"))
    assert (await live(tools=[reference])).output == "never mind"
    assert functions.called == []


async def test_a_tool_that_fails_is_told_to_the_model(server, live, functions):
    async def broken() -> str:
        raise ValueError("the shelf is empty")

    server.say(ToolCalls(("broken", {})), Text("no books"))
    assert (await live(tools=[functions.add(broken)])).output == "no books"
    assert "the shelf is empty" in server.requests[1].texts("tool")[0]


async def test_a_result_that_is_too_large_or_no_json_is_told_to_the_model(server, live, functions):
    async def page() -> str:
        return "x" * 70_000

    async def thing() -> object:
        return object()

    server.say(ToolCalls(("page", {}), ("thing", {})), Text("done"))
    await live(tools=[functions.add(page), functions.add(thing)])
    large, strange = server.requests[1].texts("tool")
    assert "at most 65536" in large
    assert "not JSON" in strange


async def test_a_tool_may_end_the_step(server, live, functions):
    async def forbidden() -> str:
        raise StepFailed("not_today", "closed", retryable=False)

    server.say(ToolCalls(("forbidden", {})))
    with pytest.raises(StepFailed) as caught:
        await live(tools=[functions.add(forbidden)])
    assert (caught.value.error_code, caught.value.retryable) == ("not_today", False)
    assert server.calls == 1


@pytest.mark.parametrize(
    ("tools", "code"), [(["tools:nobody"], "function_not_found"), (["nobody"], "tool_not_found"), (["tools:add", "tools:add"], "tool_invalid")]
)
async def test_tools_that_cannot_be_used(server, live, functions, tools, code):
    functions.add(add)
    with pytest.raises(StepFailed) as caught:
        await live(tools=tools)
    assert (caught.value.error_code, caught.value.retryable, server.calls) == (code, False, 0)


def test_a_function_without_a_schema_is_refused():
    def takes(lock: asyncio.Lock) -> None: ...

    with pytest.raises(StepFailed) as caught:
        schema_of(takes)
    assert caught.value.error_code == "tool_invalid"


def test_the_context_of_a_function_is_not_for_the_model():
    def takes(context: Any, city: str, days: int = 3) -> None: ...

    schema = schema_of(takes)
    assert schema["required"] == ["city"]
    assert set(schema["properties"]) == {"city", "days"}
    assert schema["additionalProperties"] is False


async def test_the_limit_of_turns(server, live, functions):
    reference = functions.add(add)
    server.default = lambda request: ToolCalls(("add", {"a": 1, "b": 1}))
    with pytest.raises(StepFailed) as caught:
        await live(tools=[reference], limits={"turns": 3})
    assert (caught.value.error_code, caught.value.retryable, server.calls) == ("agent_limit", False, 3)
    assert caught.value.details["usage"]["tool_calls"] == 3


async def test_the_limit_of_tool_calls(server, live, functions):
    reference = functions.add(add)
    server.default = lambda request: ToolCalls(("add", {"a": 1, "b": 1}))
    with pytest.raises(StepFailed) as caught:
        await live(tools=[reference], limits={"tool_calls": 2})
    assert (caught.value.error_code, len(functions.called)) == ("agent_limit", 2)


async def test_the_limit_of_tokens(server, live, functions):
    reference = functions.add(add)
    server.default = lambda request: ToolCalls(("add", {"a": 1, "b": 1}))
    with pytest.raises(StepFailed) as caught:
        await live(tools=[reference], limits={"tokens": 300})
    assert caught.value.error_code == "agent_limit"
    assert server.calls == 3


async def test_half_an_emoji_does_no_harm(server, live):
    recorded = []

    async def record(body):
        recorded.append(body)

    choice = b'{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "half \\ud83d"}}'
    server.say(Raw(b'{"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [%s]}' % choice))
    await live(record=record)
    assert recorded[0]["result"]["parts"][0]["content"] == "half \ufffd"
