"""The loop over real HTTP in each wire format: the same story must come out of all of them."""

import asyncio
import base64
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from runtime.agents.context import AgentContext, AgentOutcome
from runtime.agents.loop import run_agent
from runtime.agents.providers import Providers
from runtime.errors import StepFailed
from runtime.settings import Settings
from tests.support.openai_server import Drip, Drop, Output, Raw, Refusal, Refuse, Slow, Text, ToolCalls
from tests.support.wires import WIRES, Given, Wire, wires

NOTE = {
    "type": "object",
    "required": ["title", "score"],
    "properties": {"title": {"type": "string"}, "score": {"type": "integer", "minimum": 1, "maximum": 5}},
}


@pytest.fixture(params=WIRES)
async def wire(request) -> AsyncIterator[Wire]:
    async with wires(request.param) as (made,):
        yield made


@pytest.fixture
async def ask(wire, functions) -> AsyncIterator[Callable[..., Any]]:
    """Run an agent over the wire."""
    providers = Providers(Settings(), Given({wire.provider: wire.credential()}))

    async def run(*, replay: Any = (), record: Any = None, observe: Any = None, timeout: float = 20, **agent: Any) -> AgentOutcome:
        context = AgentContext(providers, functions.resolve, timeout=timeout, replay=replay, record=record, observe=observe)
        return await run_agent({"prompt": "the question", **agent}, mode="live", default_model=wire.model, context=context)

    yield run
    await providers.aclose()


async def square(n: int) -> int:
    """Square a number."""
    return n * n


async def test_text_with_instructions(wire, ask):
    wire.server.say(Text("blue"))
    outcome = await ask(instructions="Be brief.", prompt="Which colour?")
    assert (outcome.output, outcome.usage["model"]) == ("blue", wire.model)
    assert (outcome.usage["input_tokens"], outcome.usage["output_tokens"]) == (100, 10)
    (request,) = wire.server.requests
    assert request.texts("user") == ["Which colour?"]
    assert request.texts("system") + request.texts("developer") == ["Be brief."]
    assert "sk-secret-of-the-test" in (request.headers.get("x-api-key"), request.headers.get("authorization", "").removeprefix("Bearer "))


async def test_tools_are_used(wire, ask, functions):
    wire.server.say(ToolCalls(("square", {"n": 3}), ("square", {"n": 4})), Text("9 and 16"))
    outcome = await ask(tools=[functions.add(square)])
    assert (outcome.output, outcome.usage["tool_calls"]) == ("9 and 16", 2)
    assert wire.server.requests[0].tools == ["square"]
    assert wire.server.requests[1].texts("tool") == ["9", "16"]


async def test_structured_output_is_repaired(wire, ask):
    wire.server.say(Output({"title": "Pumps", "score": 9}), Text("I would say four"), Output({"title": "Pumps", "score": 4}))
    outcome = await ask(output=NOTE)
    assert (outcome.output, outcome.usage["calls"]) == ({"title": "Pumps", "score": 4}, 3)
    assert "/score" in str(wire.server.requests[1].messages[-1])


async def test_an_answer_that_stays_wrong(wire, ask):
    wire.server.default = lambda request: Output({"title": 1})
    with pytest.raises(StepFailed) as caught:
        await ask(output=NOTE)
    assert (caught.value.error_code, caught.value.retryable, wire.server.calls) == ("model_output_invalid", True, 4)


@pytest.mark.parametrize(
    ("answer", "code", "retryable", "retry_after"),
    [
        (Refuse(429, "slow down", retry_after=7), "rate_limited", True, 7),
        (Refuse(500), "provider_unavailable", True, None),
        (Refuse(503, "later", retry_after=3), "provider_unavailable", True, 3),
        (Refuse(529, "overloaded"), "provider_unavailable", True, None),
        (Refuse(400, "bad schema"), "model_request_refused", False, None),
        (Refuse(401, "wrong key sk-secret-of-the-test"), "provider_unauthorized", False, None),
        (Refuse(404, "no such model"), "model_not_found", False, None),
        (Drop(), "provider_unavailable", True, None),
        (Raw(b"<html>a proxy</html>", "text/html"), "model_output_invalid", True, None),
    ],
    ids=lambda value: str(getattr(value, "status", "")),
)
async def test_errors_mean_the_same_everywhere(wire, ask, answer, code, retryable, retry_after):
    wire.server.say(answer)
    with pytest.raises(StepFailed) as caught:
        await ask()
    error = caught.value
    assert (error.error_code, error.retryable, error.retry_after, wire.server.calls) == (code, retryable, retry_after, 1)
    assert "sk-secret" not in str(error)


async def test_redirects_are_not_followed(wire, ask):
    wire.server.say(Refuse(302, "elsewhere"), Text("followed"))
    with pytest.raises(StepFailed):
        await ask()
    assert wire.server.calls == 1


async def test_an_answer_that_drips_for_ever(wire, ask):
    wire.server.say(Drip())
    with pytest.raises(StepFailed) as caught:
        await ask(timeout=0.5)
    assert caught.value.error_code == "timeout"


async def test_a_refused_content(wire, ask):
    wire.server.say(Refusal(""))
    with pytest.raises(StepFailed) as caught:
        await ask()
    assert (caught.value.error_code, caught.value.retryable) == ("content_filtered", False)


async def test_cancelling_aborts_the_connection_within_a_second(wire, ask):
    wire.server.say(Slow(Text("late"), release=asyncio.Event()))
    task = asyncio.create_task(ask())
    await wire.server.asked(1)
    began = time.monotonic()
    task.cancel()
    await wire.server.left()
    assert time.monotonic() - began < 1
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("crash_at", range(5))
async def test_a_crash_pays_nothing_twice(wire, ask, functions, crash_at):
    """The process dies while the call `crash_at` is on its way to the journal; only that one is made again."""
    answers = [ToolCalls(("square", {"n": 3})), ToolCalls(("square", {"n": 4})), Text("25")]
    reference, bodies = functions.add(square), []

    async def record(body: dict[str, Any]) -> None:
        if len(bodies) == crash_at:
            raise SystemError("the process died here")
        bodies.append(body)

    wire.server.say(*answers)
    with pytest.raises(SystemError):
        await ask(tools=[reference], record=record)
    paid = [body for body in bodies if body["name"] == "model"]
    asked_before, called_before = wire.server.calls, len(functions.called)
    wire.server._script.clear()
    wire.server.say(*answers[len(paid) :])
    outcome = await ask(tools=[reference], replay=list(bodies))
    assert (outcome.output, outcome.usage["calls"]) == ("25", 3)
    assert wire.server.calls - asked_before == 3 - len(paid)
    assert len(functions.called) - called_before == 2 - (len(bodies) - len(paid))


TALK = [
    {"role": "user", "content": "how many?", "attachments": [{"name": "shelf.png", "media_type": "image/png"}]},
    {"role": "assistant", "content": "", "tool_calls": [{"id": "call_1", "name": "square", "arguments": {"n": 3}}]},
    {"role": "tool", "content": "9", "tool_call_id": "call_1", "name": "square"},
    {"role": "assistant", "content": "nine"},
]


async def test_a_history_comes_before_the_prompt(wire, ask, functions):
    wire.server.say(Text("eighty-one"))
    await ask(history=TALK, prompt="and squared?", tools=[functions.add(square)])
    (request,) = wire.server.requests
    assert [message["role"] for message in request.messages][-1] == "user"
    assert request.texts("user") == ["how many?\n[shelf.png, image/png, was shown here]", "and squared?"]
    assert request.texts("tool") == ["9"]
    assert "nine" in request.texts("assistant")
    assert "call_1" in str(request.messages)
    assert functions.called == []


async def test_to_an_agent_without_tools_what_they_gave_is_told_as_text(wire, ask):
    await ask(history=TALK, prompt="and squared?")
    (request,) = wire.server.requests
    assert request.texts("tool") == []
    assert "call_1" not in str(request.messages)
    assert "[square said] 9" in str(request.messages)


async def test_what_was_said_is_told_when_asked_for(wire, functions):
    wire.server.say(ToolCalls(("square", {"n": 3})), Output({"title": "x", "score": 9}), Output({"title": "nine", "score": 3}))
    providers = Providers(Settings(), Given({wire.provider: wire.credential()}))
    context = AgentContext(providers, functions.resolve, timeout=20, keep_messages=True)
    agent = {"prompt": "3 squared?", "tools": [functions.add(square)], "output": NOTE}
    outcome = await run_agent(agent, mode="live", default_model=wire.model, context=context)
    await providers.aclose()
    user, calls, said, answer = outcome.messages
    assert (user, answer) == ({"role": "user", "content": "3 squared?"}, {"role": "assistant", "content": '{"title": "nine", "score": 3}'})
    assert calls["tool_calls"] == [{"id": said["tool_call_id"], "name": "square", "arguments": {"n": 3}}]
    assert (said["role"], said["content"], said["name"]) == ("tool", "9", "square")
    wire.server.say(Text("again"))
    again = Providers(Settings(), Given({wire.provider: wire.credential()}))
    context = AgentContext(again, functions.resolve, timeout=20, history=outcome.messages)
    await run_agent({**agent, "output": None}, mode="live", default_model=wire.model, context=context)
    await again.aclose()
    assert wire.server.requests[-1].texts("tool") == ["9"]


async def test_attachments_are_shown(wire, functions):
    png, text = b"\x89PNG\r\n\x1a\n" + b"0" * 20, b"a,b"
    content = {"1" * 64: png, "2" * 64: text}
    known = {
        "1" * 64: {"name": "chart.png", "sha256": "1" * 64, "size": len(png), "media_type": "image/png"},
        "2" * 64: {"name": "rows.csv", "sha256": "2" * 64, "size": len(text), "media_type": "text/csv"},
    }

    async def load(digest: str) -> bytes:
        return content[digest]

    bodies: list[dict[str, Any]] = []

    async def record(body: dict[str, Any]) -> None:
        bodies.append(body)

    providers = Providers(Settings(), Given({wire.provider: wire.credential()}))
    context = AgentContext(providers, functions.resolve, timeout=20, artifacts=known, load=load, record=record, keep_messages=True)
    outcome = await run_agent({"prompt": "look", "attachments": list(known.values())}, mode="live", default_model=wire.model, context=context)
    await providers.aclose()
    sent = str(wire.server.requests[0].messages)
    encoded = base64.b64encode(png).decode()
    assert encoded in sent
    assert "a,b" in sent
    assert "chart.png" in sent
    assert encoded not in str(bodies), "the journal holds no content"
    shown = [{"name": "chart.png", "media_type": "image/png"}, {"name": "rows.csv", "media_type": "text/csv"}]
    assert outcome.messages[0] == {"role": "user", "content": "look", "attachments": shown}


@pytest.mark.parametrize(("limits", "calls"), [({"turns": 3}, 3), ({"tool_calls": 2}, 3), ({"tokens": 300}, 3)], ids=str)
async def test_limits(wire, ask, functions, limits, calls):
    wire.server.default = lambda request: ToolCalls(("square", {"n": 1}))
    with pytest.raises(StepFailed) as caught:
        await ask(tools=[functions.add(square)], limits=limits)
    assert (caught.value.error_code, caught.value.retryable, wire.server.calls) == ("agent_limit", False, calls)
