"""The straight way and the loop ask the same, record the same, and come to the same end."""

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from runtime.agents import live
from runtime.agents.context import AgentContext
from runtime.agents.loop import run_agent
from runtime.agents.providers import Providers
from runtime.errors import StepFailed
from runtime.settings import Settings
from tests.support.openai_server import Raw, Refusal, Refuse, Text
from tests.support.wires import WIRES, Given, Wire, wires

TIMES = {"timestamp", "provider_response_id"}
"""What differs between two answers that say the same."""


def cut_off(text: str) -> Raw:
    """An answer in OpenAI's format that was ended by the limit of tokens."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "length"}
    usage = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}
    return Raw(json.dumps({"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}).encode())


@pytest.fixture(params=WIRES)
async def wire(request) -> AsyncIterator[Wire]:
    async with wires(request.param) as (made,):
        yield made


@pytest.fixture
async def told(wire, functions, monkeypatch) -> AsyncIterator[Callable[..., Any]]:
    """All that comes of an agent step: what the provider was asked, what was recorded, and the end."""
    providers = Providers(Settings(), Given({wire.provider: wire.credential()}))

    async def tell(answers: list[Any], *, straight: bool, **agent: Any) -> dict[str, Any]:
        monkeypatch.setattr(live, "_asks_once", asks_once if straight else lambda *_: False)
        wire.server.requests.clear()
        wire.server.say(*answers)
        recorded: list[dict[str, Any]] = []

        async def record(body: dict[str, Any]) -> None:
            recorded.append(body)

        context = AgentContext(providers, functions.resolve, timeout=20, record=record, keep_messages=True)
        found: dict[str, Any] = {}
        try:
            outcome = await run_agent({"prompt": "the question", **agent}, mode="live", default_model=wire.model, context=context)
            found |= {"output": outcome.output, "usage": outcome.usage, "messages": outcome.messages}
        except StepFailed as error:
            found |= {"error": error.error_code, "message": str(error), "details": error.details}
        return found | {"asked": [request.body for request in wire.server.requests], "recorded": [timeless(body) for body in recorded]}

    asks_once = live._asks_once
    yield tell
    await providers.aclose()


def timeless(value: Any) -> Any:
    """Without what differs between two answers."""
    if isinstance(value, dict):
        return {name: timeless(part) for name, part in value.items() if name not in TIMES | {"call", "latency_ms"}}
    return [timeless(part) for part in value] if isinstance(value, list) else value


STORIES: dict[str, tuple[list[Any], dict[str, Any]]] = {
    "a text": ([Text("blue")], {}),
    "with instructions": ([Text("blue")], {"instructions": "Be brief."}),
    "with settings": ([Text("blue")], {"temperature": 0.5, "max_tokens": 7}),
    "nothing, then a text": ([Text(""), Text("blue")], {}),
    "nothing for ever": ([Text("")] * 4, {}),
    "too few turns": ([Text("")], {"limits": {"turns": 1}}),
    "too many tokens": ([Text("blue")], {"limits": {"tokens": 50}}),
    "a refusal": ([Refusal()], {}),
    "an error": ([Refuse(503, "later", retry_after=3)], {}),
}


@pytest.mark.parametrize("story", STORIES)
async def test_both_ways_are_one(wire, told, story):
    answers, agent = STORIES[story]
    straight, loop = await told(answers, straight=True, **agent), await told(answers, straight=False, **agent)
    assert straight["asked"]
    assert straight == loop


@pytest.mark.parametrize("wire", ["openai", "openai-compatible"], indirect=True)
@pytest.mark.parametrize("text", ["half of a sent", ""])
async def test_an_answer_that_was_cut_off(wire, told, text):
    straight, loop = await told([cut_off(text)], straight=True), await told([cut_off(text)], straight=False)
    assert straight == loop


async def test_a_text_needs_no_loop(wire, told, monkeypatch):
    def no_loop(*_: Any, **__: Any) -> None:
        raise AssertionError("the loop was asked")

    monkeypatch.setattr(live.Agent, "run", no_loop)
    assert (await told([Text("blue")], straight=True))["output"] == "blue"


@pytest.fixture
async def holding(wire, functions) -> AsyncIterator[Callable[..., Any]]:
    """Run an agent whose last call may travel with its result; the outcome or the error, and what was recorded before."""
    providers = Providers(Settings(), Given({wire.provider: wire.credential()}))

    async def run(*answers: Any, keep_messages: bool = False, **agent: Any) -> tuple[Any, list[str]]:
        wire.server.say(*answers)
        recorded: list[str] = []

        async def record(body: dict[str, Any]) -> None:
            recorded.append(f"{body['name']} {body['n']}")

        context = AgentContext(providers, functions.resolve, timeout=20, record=record, hold=True, keep_messages=keep_messages)
        try:
            return await run_agent({"prompt": "the question", **agent}, mode="live", default_model=wire.model, context=context), recorded
        except StepFailed as error:
            return error, recorded

    yield run
    await providers.aclose()


async def test_the_last_call_travels_with_the_result(holding):
    outcome, recorded = await holding(Text("blue"))
    assert (outcome.output, recorded) == ("blue", [])
    (call,) = outcome.calls
    assert (call["name"], call["n"], call["usage"]["input_tokens"]) == ("model", 1, 100)
    assert call["result"]["parts"][0]["content"] == "blue"


async def test_a_call_after_which_the_loop_goes_on_is_recorded_first(holding, wire):
    outcome, recorded = await holding(Text(""), Text("blue"))
    assert (outcome.output, outcome.calls, recorded) == ("blue", (), ["model 1", "model 2"])
    assert wire.server.calls == 2


@pytest.mark.parametrize(
    ("answer", "agent"),
    [(Text("x" * 20_000), {}), (Text("blue"), {"keep_messages": True}), (Text("blue"), {"limits": {"tokens": 50}})],
    ids=["large", "with messages", "too many tokens"],
)
async def test_a_call_that_is_not_small_change_is_recorded_at_once(holding, answer, agent):
    found, recorded = await holding(answer, **agent)
    assert recorded == ["model 1"]
    assert isinstance(found, StepFailed) or found.calls == ()
