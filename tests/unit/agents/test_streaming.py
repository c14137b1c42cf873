"""Streamed requests over real HTTP in each wire format: the answer is that of a plain request, and its text is heard while it comes."""

import asyncio
import json
import time
import tracemalloc
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import pytest

from runtime.agents.bounded import MAX_ANSWER_BYTES
from runtime.agents.context import AgentContext, AgentOutcome
from runtime.agents.loop import run_agent
from runtime.agents.providers import Providers
from runtime.deltas.voice import Speaker
from runtime.errors import StepFailed
from runtime.settings import Settings
from tests.support.asgi import event
from tests.support.ears import Ears
from tests.support.openai_server import Drop, Endless, Output, Raw, Received, Refusal, Refuse, Slow, Streamed, Text, ToolCalls
from tests.support.wires import WIRES, Given, Wire, wires

NOTE = {"type": "object", "required": ["title"], "properties": {"title": {"type": "string"}}}
TREE = {"type": "object", "properties": {"child": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}}, "required": ["child"]}
LONG = "Grüße aus Köln: ☔ und 🦭, mehrmals. " * 5


@pytest.fixture(params=WIRES)
async def wire(request) -> AsyncIterator[Wire]:
    async with wires(request.param) as (made,):
        yield made


@pytest.fixture
def ears() -> Ears:
    return Ears()


@pytest.fixture
async def ask(wire, functions, ears) -> AsyncIterator[Callable[..., Any]]:
    """Run an agent over the wire, heard by `ears`."""
    providers = Providers(Settings(), Given({wire.provider: wire.credential()}))

    async def run(*, replay: Any = (), record: Any = None, observe: Any = None, timeout: float = 20, **agent: Any) -> AgentOutcome:
        speaker = Speaker(ears, "run-1", "draft", None, 1)
        context = AgentContext(providers, functions.resolve, timeout=timeout, replay=replay, record=record, observe=observe, speaker=speaker)
        return await run_agent({"prompt": "the question", **agent}, mode="live", default_model=wire.model, context=context)

    yield run
    await providers.aclose()


def streams(wire: Wire) -> list[bool]:
    return [bool(request.body.get("stream")) for request in wire.server.requests]


async def square(n: int) -> int:
    """Square a number."""
    return n * n


ANSWERS = [(Text(LONG), {}), (Output({"title": LONG}), {"output": NOTE}), (ToolCalls(("square", {"n": 3})), {"tools": ["tools:square"]})]


@pytest.mark.parametrize(("answer", "agent"), ANSWERS, ids=["text", "structured", "tool"])
async def test_the_journal_gets_what_it_gets_from_a_plain_request(wire, ask, ears, functions, answer, agent):
    functions.add(square)
    results = []
    for listening in (False, True):
        ears.listening = listening
        bodies: list[dict[str, Any]] = []

        async def record(body: dict[str, Any], bodies: list[dict[str, Any]] = bodies) -> None:
            bodies.append(body)

        wire.server.requests.clear()
        wire.server.say(answer, Text("the end"))
        outcome = await ask(record=record, **agent)
        assert set(streams(wire)) == {listening}
        results.append((outcome.output, outcome.usage, [_kept(body) for body in bodies]))
        wire.server._script.clear()
    assert results[0] == results[1]


def _kept(body: dict[str, Any]) -> Any:
    """A journalled call without times, and without what one way of asking tells of the wire and the other does not."""
    if body["name"] != "model":
        return {**body, "id": None}
    result = body["result"]
    parts = [{name: value for name, value in part.items() if name not in ("tool_call_id", "id", "provider_name")} for part in result["parts"]]
    kept = {name: result.get(name) for name in ("usage", "model_name", "finish_reason", "provider_name", "metadata", "kind", "state")}
    usage = {name: value for name, value in body["usage"].items() if name not in ("call", "latency_ms")}
    return {**body, "usage": usage, "result": {**kept, "parts": [_parsed(part) for part in parts]}}


def _parsed(part: dict[str, Any]) -> dict[str, Any]:
    return {**part, "args": json.loads(part["args"])} if isinstance(part.get("args"), str) else part


async def test_text_is_heard_as_it_comes(wire, ask, ears):
    gate = asyncio.Event()
    wire.server.say(Streamed(Text(LONG), gate=gate))
    asking = asyncio.create_task(ask())
    await ears.heard("Grüße aus")
    assert not asking.done()
    gate.set()
    assert (await asking).output == LONG == ears.text
    assert {(delta.run_id, delta.step, delta.index, delta.attempt, delta.call, delta.json) for delta in ears.deltas} == {("run-1", "draft", None, 1, 1, False)}
    assert len([delta for delta in ears.deltas if delta.says]) > 5
    assert ears.deltas[-1].ended


async def test_a_structured_answer_is_heard_as_json(wire, ask, ears):
    wire.server.say(Output({"title": LONG}))
    outcome = await ask(output=NOTE)
    assert outcome.output == {"title": LONG}
    assert {delta.json for delta in ears.deltas} == {True}
    assert json.loads(ears.text) == {"title": LONG}


async def test_with_a_structured_answer_other_text_is_not_heard(wire, ask, ears):
    wire.server.say(Text("let me think"), Output({"title": "x"}))
    await ask(output=NOTE)
    assert "think" not in "".join(delta.text for delta in ears.deltas)
    assert {delta.call for delta in ears.deltas} == {2}


async def test_a_schema_that_refers_to_itself_is_answered_by_text_that_is_json(wire, ask, ears):
    wire.server.say(Text('{"child": null}'))
    assert (await ask(output=TREE)).output == {"child": None}
    assert (ears.text, {delta.json for delta in ears.deltas}) == ('{"child": null}', {True})


async def test_each_call_has_a_text_of_its_own(wire, ask, ears, functions):
    wire.server.say(ToolCalls(("square", {"n": 3})), ToolCalls(("square", {"n": 4})), Text("twenty-five"))
    await ask(tools=[functions.add(square)])
    assert (ears.text, {delta.call for delta in ears.deltas}) == ("twenty-five", {3})


@pytest.mark.parametrize(("wanted", "listening", "streamed"), [(True, False, True), (False, True, False), ("auto", False, False), ("auto", True, True)])
async def test_who_decides(wire, ask, ears, wanted, listening, streamed):
    ears.listening = listening
    assert (await ask(stream=wanted)).output == "an answer"
    assert (streams(wire), bool(ears.deltas)) == ([streamed], streamed)


async def test_calls_from_the_journal_are_not_heard(wire, ask, ears):
    bodies: list[dict[str, Any]] = []

    async def record(body: dict[str, Any]) -> None:
        bodies.append(body)

    await ask(record=record)
    ears.deltas.clear()
    assert (await ask(replay=bodies)).output == "an answer"
    assert (ears.deltas, wire.server.calls) == ([], 1)


FAILURES = [
    (Refuse(429, "slow down", retry_after=7), "rate_limited", True, 7),
    (Refuse(503, "later", retry_after=3), "provider_unavailable", True, 3),
    (Refuse(529, "overloaded"), "provider_unavailable", True, None),
    (Refuse(400, "bad schema"), "model_request_refused", False, None),
    (Refuse(401, "wrong key sk-secret-of-the-test"), "provider_unauthorized", False, None),
    (Refuse(404, "no such model"), "model_not_found", False, None),
    (Drop(), "provider_unavailable", True, None),
    (Refusal(""), "content_filtered", False, None),
    (Raw(b"<html>a proxy</html>", "text/html"), "model_output_invalid", True, None),
    (Raw(b"", "text/event-stream"), "model_output_invalid", True, None),
    (Raw(b"data: {\n\n", "text/event-stream"), "model_output_invalid", True, None),
    (Raw(b"data: \xc3\n\n", "text/event-stream"), "model_output_invalid", True, None),
]


@pytest.mark.parametrize(("answer", "code", "retryable", "retry_after"), FAILURES, ids=lambda value: str(getattr(value, "status", getattr(value, "body", ""))))
async def test_errors_mean_what_they_mean_without_a_stream(wire, ask, answer, code, retryable, retry_after):
    wire.server.say(answer)
    seen: list[str] = []
    with pytest.raises(StepFailed) as caught:
        await ask(observe=lambda *call: seen.append(call[1]))
    error = caught.value
    assert (error.error_code, error.retryable, error.retry_after, wire.server.calls) == (code, retryable, retry_after, 1)
    assert seen == ["success" if code == "content_filtered" else code]
    assert "sk-secret" not in str(error)


def inside_a_character(whole: bytes) -> int:
    """Where the second seal has come half."""
    seal = "🦭".encode()
    return whole.index(seal, whole.index(seal) + 1) + 2


def behind_the_text(whole: bytes) -> int:
    """Where all the text has come, and not what says that it was all."""
    return whole.rindex(b"finish_reason" if b"[DONE]" in whole else b"event: content_block_stop") - 20


def before_an_event(whole: bytes) -> int:
    return whole.index(b"\n\n", len(whole) // 2) + 2


@pytest.mark.parametrize("clean", [False, True], ids=["broken", "closed"])
@pytest.mark.parametrize("cut", [inside_a_character, behind_the_text, before_an_event], ids=lambda cut: cut.__name__)
async def test_a_stream_that_is_cut_off_is_no_answer(wire, ask, ears, cut, clean):
    wire.server.say(Streamed(Text(LONG), cut=cut, clean=clean))
    with pytest.raises(StepFailed) as caught:
        await ask()
    assert caught.value.retryable
    assert caught.value.error_code in ("provider_unavailable", "model_output_invalid")
    assert (ears.text, ears.marks) == ("", [caught.value.error_code]), "the reader is told that the text is void"


async def test_pieces_that_come_twice_are_said_twice_and_break_nothing(wire, ask, ears):
    """No wire format tells a piece that was sent twice from a text that repeats itself."""
    wire.server.say(Streamed(Text("na na na "), doubled=True))
    outcome = await ask()
    assert outcome.output == ears.text
    assert outcome.usage["calls"] == 1


async def test_half_a_character_waits_for_its_other_half(wire, ask, ears):
    wire.server.say(Text("seal: \ud83e\uddad!"), Text("bro\ud83e"))
    assert (await ask()).output == ears.text == "seal: 🦭!"
    assert all(delta.text.isprintable() for delta in ears.deltas)
    ears.deltas.clear()
    await ask()
    assert ears.text == "bro\ufffd", "as it is going to stand in the journal"


async def test_an_endless_stream_ends_at_the_timeout(wire, ask, ears):
    wire.server.say(Endless())
    with pytest.raises(StepFailed) as caught:
        await ask(timeout=0.7)
    assert caught.value.error_code == "timeout"
    assert ears.marks == ["timeout"]
    await wire.server.left()


async def test_an_endless_stream_ends_at_the_limit_of_an_answer(wire, ask):
    wire.server.say(Text("to import what is needed"), Endless("x" * 2**20, pause=0))
    await ask()
    tracemalloc.start()
    try:
        with pytest.raises(StepFailed) as caught:
            await ask(timeout=120)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (caught.value.error_code, caught.value.retryable) == ("response_too_large", False)
    assert most < MAX_ANSWER_BYTES + 16 * 2**20


async def test_one_event_has_the_limit_of_an_answer(wire, ask):
    wire.server.say(Raw(b"data: " + b"x" * (MAX_ANSWER_BYTES + 2**17), "text/event-stream"))
    with pytest.raises(StepFailed) as caught:
        await ask()
    assert caught.value.error_code == "response_too_large"


@pytest.mark.parametrize("answer", [Slow(Text("late"), release=asyncio.Event()), Endless()], ids=["before the first word", "in the middle"])
async def test_cancelling_aborts_the_connection_within_a_second(wire, ask, ears, answer):
    if isinstance(answer, Slow):
        answer = replace(answer, release=asyncio.Event())
    wire.server.say(answer)
    task = asyncio.create_task(ask())
    await wire.server.asked(1)
    if isinstance(answer, Endless):
        await ears.heard("more")
    began = time.monotonic()
    task.cancel()
    await wire.server.left()
    assert time.monotonic() - began < 1
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ears.text == ""


async def test_a_call_that_fails_takes_nothing_back_of_those_before_it(wire, ask, ears):
    async def record(body: dict[str, Any]) -> None:
        ears.listening = False

    wire.server.say(Text('{"child": 5}'), Refuse(529))
    with pytest.raises(StepFailed):
        await ask(output=TREE, record=record)
    assert (streams(wire), ears.text, ears.marks) == ([True, False], '{"child": 5}', [])


@pytest.mark.parametrize(("kind", "code"), [("overloaded_error", "provider_unavailable"), ("rate_limit_error", "rate_limited")])
async def test_an_error_in_the_middle_of_a_stream_means_what_it_means(wire, ask, ears, kind, code):
    before, said, _ = wire.server.events(wire.server.completion(Text(LONG), 1, Received({"model": "m"}, {})))
    error = {"type": kind, "message": "no", "code": 429 if code == "rate_limited" else 503}
    failed = event({"type": "error", "error": error}, "error" if wire.provider == "anthropic" else None)
    wire.server.say(Raw(before + b"".join(said) + failed, "text/event-stream"))
    with pytest.raises(StepFailed) as caught:
        await ask()
    assert (caught.value.error_code, caught.value.retryable, ears.marks) == (code, True, [code])


async def test_a_fallback_drops_what_the_first_model_has_said(functions, ears):
    async with wires("openai", "anthropic") as (first, second):
        providers = Providers(Settings(), Given({wire.provider: wire.credential() for wire in (first, second)}))
        first.server.say(Streamed(Text(LONG), cut=before_an_event))
        second.server.say(Text("and now for something else"))
        context = AgentContext(providers, functions.resolve, timeout=20, speaker=Speaker(ears, "run-1", "draft", 7, 2))
        outcome = await run_agent({"prompt": "x"}, mode="live", default_model=[first.model, second.model], context=context)
        await providers.aclose()
    assert outcome.output == ears.text == "and now for something else"
    assert ears.marks == ["provider_unavailable"]
    assert {(delta.index, delta.attempt, delta.call) for delta in ears.deltas} == {(7, 2, 1)}
    assert any("Grüße" in delta.text or "Grü" in delta.text for delta in ears.deltas)


async def test_a_refusal_that_another_model_makes_up_for_is_dropped(functions, ears):
    async with wires("openai", "anthropic") as (first, second):
        providers = Providers(Settings(), Given({wire.provider: wire.credential() for wire in (first, second)}))
        first.server.say(Refusal("I would rather not"))
        second.server.say(Text("gladly"))
        context = AgentContext(providers, functions.resolve, timeout=20, speaker=Speaker(ears, "run-1", "draft", None, 1))
        await run_agent({"prompt": "x"}, mode="live", default_model=[first.model, second.model], context=context)
        await providers.aclose()
    assert (ears.text, ears.marks) == ("gladly", ["content_filtered"])
