"""Whatever a provider does wrong becomes an error the engine can act on."""

import asyncio
import gzip
import json
import socket
import tracemalloc

import pytest

from runtime.agents.bounded import MAX_ANSWER_BYTES
from runtime.agents.context import AgentContext
from runtime.agents.loop import run_agent
from runtime.agents.providers import Providers
from runtime.errors import StepFailed
from runtime.settings import Settings
from tests.support.openai_server import Drip, Drop, Huge, Raw, Refuse, Slow, Text

STATUSES = [
    (Refuse(429, "slow down", retry_after=7), "rate_limited", True, 7),
    (Refuse(429, "pay", code="insufficient_quota"), "quota_exceeded", False, None),
    (Refuse(402, "pay"), "quota_exceeded", False, None),
    (Refuse(500), "provider_unavailable", True, None),
    (Refuse(502), "provider_unavailable", True, None),
    (Refuse(503, "later", retry_after=3), "provider_unavailable", True, 3),
    (Refuse(529, "overloaded"), "provider_unavailable", True, None),
    (Refuse(400, "bad schema"), "model_request_refused", False, None),
    (Refuse(422, "bad schema"), "model_request_refused", False, None),
    (Refuse(401, "wrong key sk-secret-of-the-test"), "provider_unauthorized", False, None),
    (Refuse(403, "no"), "provider_unauthorized", False, None),
    (Refuse(404, "no such model"), "model_not_found", False, None),
    (Refuse(400, "too long", code="context_length_exceeded"), "context_too_long", False, None),
    (Refuse(408, "late"), "provider_unavailable", True, None),
    (Refuse(302, "elsewhere"), "model_output_invalid", True, None),
]


@pytest.mark.parametrize(("answer", "code", "retryable", "retry_after"), STATUSES, ids=lambda value: getattr(value, "status", None))
async def test_statuses(server, live, answer, code, retryable, retry_after):
    server.say(answer)
    seen = []
    with pytest.raises(StepFailed) as caught:
        await live(observe=lambda *call: seen.append(call[:2]))
    error = caught.value
    assert (error.error_code, error.retryable, error.retry_after) == (code, retryable, retry_after)
    assert server.calls == 1, "attempts are the engine's business"
    assert seen == [("openai", code)]


async def test_no_message_shows_the_key(server, live):
    server.say(Refuse(400, "the key sk-secret-of-the-test is odd"), Refuse(401, "the key sk-secret-of-the-test is wrong"))
    for _ in range(2):
        with pytest.raises(StepFailed) as caught:
            await live()
        assert "sk-secret" not in str(caught.value)


MALFORMED = [Raw(b"{"), Raw(b""), Raw(b"[]"), Raw(b"null"), Raw(b'{"choices": []}'), Raw(b'{"choices": 1, "id": 2}'), Raw(b"<html>proxy</html>", "text/html")]


@pytest.mark.parametrize("answer", MALFORMED, ids=lambda answer: answer.body.decode() or "empty")
async def test_malformed_answers(server, live, answer):
    server.say(answer)
    with pytest.raises(StepFailed) as caught:
        await live()
    assert (caught.value.error_code, caught.value.retryable) == ("model_output_invalid", True)


async def test_a_connection_that_breaks(server, live):
    server.say(Drop())
    with pytest.raises(StepFailed) as caught:
        await live()
    assert (caught.value.error_code, caught.value.retryable) == ("provider_unavailable", True)


async def test_nobody_listens():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    providers = Providers(Settings(openai_base_url=f"http://127.0.0.1:{port}/v1"))
    context = AgentContext(providers, lambda reference: None, timeout=5)
    with pytest.raises(StepFailed) as caught:
        await run_agent({"prompt": "x"}, mode="live", default_model="openai:m", context=context)
    await providers.aclose()
    assert (caught.value.error_code, caught.value.retryable) == ("provider_unavailable", True)


async def test_a_slow_provider(server, live):
    release = asyncio.Event()
    server.say(Slow(Text("late"), release=release))
    with pytest.raises(StepFailed) as caught:
        await live(timeout=0.2)
    release.set()
    assert (caught.value.error_code, caught.value.retryable) == ("timeout", True)


async def test_cancelling_ends_the_request(server, live):
    server.say(Slow(Text("late"), release=asyncio.Event()))
    seen = []
    task = asyncio.create_task(live(observe=lambda *call: seen.append(call[1])))
    await server.asked(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert seen == ["canceled"]


@pytest.mark.parametrize(("model", "code"), [(None, "model_missing"), ("gpt-5", "model_unknown"), ("nobody:m", "model_unknown"), ("openai:", "model_unknown")])
async def test_models_nobody_has(server, live, model, code):
    with pytest.raises(StepFailed) as caught:
        await live(model=model)
    assert (caught.value.error_code, caught.value.retryable, server.calls) == (code, False, 0)


async def test_without_a_key_nothing_is_sent(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "")
    providers = Providers(Settings())
    with pytest.raises(StepFailed) as caught:
        await providers.choose("openai:gpt-5-mini")
    await providers.aclose()
    assert caught.value.error_code == "provider_not_configured"


async def test_a_huge_answer_is_not_read_to_its_end(server, live):
    server.say(Text("to import what is needed"), Huge(50 * 2**20))
    await live()
    tracemalloc.start()
    try:
        with pytest.raises(StepFailed) as caught:
            await live()
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (caught.value.error_code, caught.value.retryable) == ("response_too_large", False)
    assert most < MAX_ANSWER_BYTES + 16 * 2**20


async def test_a_large_answer_within_the_limit(server, live):
    server.say(Huge(2**20))
    assert len((await live()).output) == 2**20


async def test_an_answer_that_drips_for_ever(server, live):
    """Every read is quick, the answer as a whole never comes."""
    server.say(Drip())
    async with asyncio.timeout(10):
        with pytest.raises(StepFailed) as caught:
            await live(timeout=0.5)
    assert (caught.value.error_code, caught.value.retryable) == ("timeout", True)


async def test_without_a_timeout_there_is_one_all_the_same(server, live, monkeypatch):
    monkeypatch.setattr("runtime.agents.live.REQUEST_SECONDS", 0.5)
    server.say(Drip())
    async with asyncio.timeout(10):
        with pytest.raises(StepFailed) as caught:
            await live(timeout=None)
    assert caught.value.error_code == "timeout"


MALFORMED_COMPLETIONS = [
    {"id": "1", "choices": []},
    {"id": "1", "choices": [{"index": 0, "message": None, "finish_reason": "stop"}]},
    {"id": "1", "choices": [{"index": 0, "message": {"role": "assistant", "content": 5}, "finish_reason": "stop"}]},
    {"error": "something"},
]


@pytest.mark.parametrize("body", MALFORMED_COMPLETIONS, ids=json.dumps)
async def test_answers_of_another_shape(server, live, body):
    server.say(Raw(json.dumps(body).encode()))
    with pytest.raises(StepFailed) as caught:
        await live()
    assert (caught.value.error_code, caught.value.retryable) == ("model_output_invalid", True)


async def test_a_bomb_is_not_unpacked(server, live):
    server.say(Raw(gzip.compress(bytes(50 * 2**20)), "application/json", encoding="gzip"))
    with pytest.raises(StepFailed) as caught:
        await live()
    assert caught.value.error_code == "response_invalid"
    assert server.requests[0].headers["accept-encoding"] == "identity"
