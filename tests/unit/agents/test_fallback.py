"""Several models for one agent: who is asked when, what the journal keeps of it, and what a crash in between changes."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from runtime.agents.context import AgentContext, AgentOutcome
from runtime.agents.loop import run_agent
from runtime.agents.providers import Providers
from runtime.errors import StepFailed
from runtime.settings import Settings
from tests.support.openai_server import Output, Refusal, Refuse, Slow, Text, ToolCalls
from tests.support.wires import Given, Wire, wires

PAIRS = [("openai", "anthropic"), ("anthropic", "openai-compatible")]


@pytest.fixture(params=PAIRS, ids="-".join)
async def pair(request) -> AsyncIterator[tuple[Wire, ...]]:
    async with wires(*request.param) as made:
        yield made


@pytest.fixture
async def ask(pair, functions) -> AsyncIterator[Callable[..., Any]]:
    providers = Providers(Settings(), Given({wire.provider: wire.credential() for wire in pair}))

    async def run(*, replay: Any = (), record: Any = None, observe: Any = None, timeout: float = 20, **agent: Any) -> AgentOutcome:
        context = AgentContext(providers, functions.resolve, timeout=timeout, replay=replay, record=record, observe=observe)
        models = [wire.model for wire in pair]
        return await run_agent({"prompt": "the question", "model": models, **agent}, mode="live", default_model=None, context=context)

    yield run
    await providers.aclose()


class Journal:
    def __init__(self, crash_at: int | None = None) -> None:
        self.bodies: list[dict[str, Any]] = []
        self._crash_at = crash_at

    async def record(self, body: dict[str, Any]) -> None:
        if len(self.bodies) == self._crash_at:
            raise SystemError("the process died here")
        self.bodies.append(body)

    @property
    def names(self) -> list[str]:
        return [body["name"] for body in self.bodies]


async def square(n: int) -> int:
    """Square a number."""
    return n * n


MOVES = [
    (Refuse(429), "rate_limited"),
    (Refuse(429, retry_after=60), "rate_limited"),
    (Refuse(402), "quota_exceeded"),
    (Refuse(500), "provider_unavailable"),
    (Refuse(529), "provider_unavailable"),
    (Refuse(404), "model_not_found"),
    (Refusal("I cannot"), "content_filtered"),
    (Refusal(""), "content_filtered"),
]


@pytest.mark.parametrize(("answer", "code"), MOVES, ids=[f"{code}-{at}" for at, (_, code) in enumerate(MOVES)])
async def test_the_next_model_is_asked(pair, ask, answer, code):
    first, second = pair
    first.server.say(answer)
    second.server.say(Text("here I am"))
    journal, seen = Journal(), []
    outcome = await ask(record=journal.record, observe=lambda *call: seen.append(call[:2]))
    assert (outcome.output, outcome.usage["model"]) == ("here I am", second.model)
    assert journal.names == ["fallback", "model"]
    assert journal.bodies[0]["result"] == {"model": second.model, "instead_of": first.model, "because": code}
    assert ("usage" in journal.bodies[0]) is isinstance(answer, Refusal), "an answer that is not used was paid for all the same"
    assert seen == [(first.provider, "success" if isinstance(answer, Refusal) else code), (second.provider, "success")]


async def test_context_that_is_too_long(pair, ask):
    first, second = pair
    too_long = "prompt is too long: 250000 tokens > 200000 maximum"
    first.server.say(Refuse(400, too_long, code="invalid_request_error" if first.provider == "anthropic" else "context_length_exceeded"))
    second.server.say(Text("fits"))
    assert (await ask()).output == "fits"


@pytest.mark.parametrize("answer", [Refuse(400), Refuse(401), Refuse(422)], ids=lambda answer: str(answer.status))
async def test_mistakes_of_ours_are_not_hidden(pair, ask, answer):
    pair[0].server.say(answer)
    with pytest.raises(StepFailed) as caught:
        await ask()
    assert not caught.value.retryable
    assert pair[1].server.calls == 0


async def test_a_short_wait_is_waited_for(pair, ask):
    first, second = pair
    first.server.say(Refuse(429, retry_after=1), Text("back again"))
    outcome = await ask()
    assert (outcome.output, outcome.usage["model"], second.server.calls) == ("back again", first.model, 0)


async def test_patience_ends(pair, ask):
    first, second = pair
    first.server.default = lambda request: Refuse(429, retry_after=0)
    second.server.say(Text("at last"))
    assert (await ask()).output == "at last"
    assert 2 <= first.server.calls <= 12


async def test_a_model_that_never_answers_leaves_time_for_the_next(pair, ask):
    first, second = pair
    first.server.say(Slow(Text("late"), release=asyncio.Event()))
    second.server.say(Text("in time"))
    assert (await ask(timeout=2)).output == "in time"
    await first.server.left()


async def test_the_model_that_was_decided_on_stays(pair, ask, functions):
    """Tool calls of one provider are told to the other, and the first is not asked again in each turn."""
    first, second = pair
    first.server.say(ToolCalls(("square", {"n": 3})), Refuse(503))
    second.server.say(ToolCalls(("square", {"n": 4})), Output({"sum": 25}))
    outcome = await ask(tools=[functions.add(square)], output={"type": "object", "required": ["sum"], "properties": {"sum": {"type": "integer"}}})
    assert (outcome.output, outcome.usage["model"]) == ({"sum": 25}, second.model)
    assert (first.server.calls, second.server.calls) == (2, 2)
    assert second.server.requests[1].texts("tool") == ["9", "16"]


@pytest.mark.parametrize("crash_at", range(6))
async def test_a_crash_in_between_pays_nothing_twice_and_changes_no_decision(pair, ask, functions, crash_at):
    first, second = pair
    reference = functions.add(square)
    first.server.say(ToolCalls(("square", {"n": 3})), Refuse(503), Text("too late"), Text("too late"))
    second.server.say(ToolCalls(("square", {"n": 4})), Text("25"))
    names = ["model", "tool:square", "fallback", "model", "tool:square", "model"]
    before = Journal(crash_at)
    with pytest.raises(SystemError):
        await ask(tools=[reference], record=before.record)
    assert before.names == names[:crash_at]
    first.server._script.clear()
    second.server._script.clear()
    paid = [body["result"]["metadata"]["answered_by"] for body in before.bodies if body["name"] == "model"]
    asked = (first.server.calls, second.server.calls)
    first.server.say(*([] if first.model in paid else [ToolCalls(("square", {"n": 3}))]), Refuse(503))
    second.server.say(*([] if second.model in paid else [ToolCalls(("square", {"n": 4}))]), Text("25"))
    after = Journal()
    outcome = await ask(tools=[reference], replay=before.bodies, record=after.record)
    assert (outcome.output, outcome.usage["model"]) == ("25", second.model)
    assert before.names + after.names == names
    decided = "fallback" in before.names
    assert first.server.calls - asked[0] == (0 if decided else 1 + (first.model not in paid))
    assert second.server.calls - asked[1] == 2 - paid.count(second.model)


async def test_when_none_can_answer_the_next_attempt_begins_with_the_first(pair, ask):
    first, second = pair
    first.server.say(Refuse(503))
    second.server.say(Refuse(429, retry_after=30))
    journal = Journal()
    with pytest.raises(StepFailed) as caught:
        await ask(record=journal.record)
    assert (caught.value.error_code, caught.value.retryable, caught.value.retry_after) == ("rate_limited", True, 30)
    assert [body["result"]["model"] for body in journal.bodies] == [second.model, first.model]
    first.server.say(Text("recovered"))
    assert (await ask(replay=journal.bodies)).usage["model"] == first.model


async def test_a_fallback_nobody_can_use_is_found_at_once(pair, ask):
    with pytest.raises(StepFailed) as caught:
        await ask(model=[pair[0].model, "google:gemini-3"])
    assert (caught.value.error_code, pair[0].server.calls) == ("provider_not_configured", 0)
