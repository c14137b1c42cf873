"""A test of a key against a real server that behaves in every way a server can."""

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest
from pydantic import SecretStr

from runtime.agents.credentials import ADDRESSED, OPERATOR
from runtime.keys import probe as probing
from runtime.keys.pair import LONG_ENOUGH, Pair
from runtime.keys.probe import MAX_READ, Probed, Verdict, probe
from runtime.keys.providers import PROVIDERS
from runtime.steps.addresses import AllowList
from runtime.steps.outbound import Outbound
from tests.support.models_server import ModelsServer, models_server, response

KEY = "sk-canary-2718281828459045"


@pytest.fixture
async def server() -> AsyncIterator[ModelsServer]:
    async with models_server(KEY) as running:
        yield running


async def ask(url: str, key: str | None = KEY, provider: str = "openai", allow: str = "127.0.0.1") -> Probed:
    transport = Outbound(AllowList.parse([allow]))
    try:
        tested = await probe(provider, url, Pair(None if key is None else SecretStr(key), url), transport)
    finally:
        await transport.aclose()
    assert KEY not in tested.detail
    return tested


@pytest.mark.parametrize(
    ("provider", "target", "header", "value"),
    [
        ("openai", "/v1/models", "authorization", f"Bearer {KEY}"),
        ("openai-compatible", "/v1/models", "authorization", f"Bearer {KEY}"),
        ("anthropic", "/v1/v1/models?limit=1", "x-api-key", KEY),
        ("google", "/v1/v1beta/models?pageSize=1", "x-goog-api-key", KEY),
        ("bedrock", "/v1/async-invoke?maxResults=1", "authorization", f"Bearer {KEY}"),
    ],
)
async def test_each_provider_is_asked_in_its_own_way(server: ModelsServer, provider: str, target: str, header: str, value: str) -> None:
    tested = await ask(server.url + "/", provider=provider)
    assert (tested.verdict, tested.status) == (Verdict.ACCEPTED, 200)
    (asked,) = server.asked
    assert (asked.target, asked.headers[header]) == (target, value)
    assert KEY not in asked.target


async def test_a_wrong_key_is_refused_and_the_providers_words_are_not_repeated(server: ModelsServer) -> None:
    tested = await ask(server.url, key="sk-wrong-0123456789")
    assert (tested.verdict, tested.status) == (Verdict.REFUSED, 401)
    assert "sk-wrong" not in repr(tested)


async def test_a_server_without_keys_is_sent_none(server: ModelsServer) -> None:
    server.answer = response(200, {"data": []})
    assert (await ask(server.url, key=None)).verdict is Verdict.ACCEPTED
    assert "authorization" not in server.asked[0].headers


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        (response(403, {}), Verdict.REFUSED),
        (response(429, {}), Verdict.LIMITED),
        (response(402, {}), Verdict.LIMITED),
        (response(404, {}), Verdict.UNEXPECTED),
        (response(500, {}), Verdict.UNEXPECTED),
        (response(302, b"", more="Location: http://169.254.169.254/\r\n"), Verdict.UNEXPECTED),
        (response(200, b"<html>a proxy</html>", content_type="text/html"), Verdict.UNEXPECTED),
        (response(200, b'{"data": [' + b" " * (4 * MAX_READ)), Verdict.ACCEPTED),
        (b"rubbish\r\n\r\n", Verdict.UNREACHABLE),
    ],
    ids=["403", "429", "402", "404", "500", "redirect", "page", "huge", "rubbish"],
)
async def test_every_answer_is_a_verdict(server: ModelsServer, answer: bytes, verdict: Verdict) -> None:
    server.answer = answer
    assert (await ask(server.url)).verdict is verdict
    assert len(server.asked) == 1


async def test_google_says_400_of_a_wrong_key(server: ModelsServer) -> None:
    server.answer = response(400, {"error": {"details": [{"reason": "API_KEY_INVALID"}]}})
    assert (await ask(server.url, provider="google")).verdict is Verdict.REFUSED
    assert (await ask(server.url, provider="openai")).verdict is Verdict.UNEXPECTED


async def test_who_does_not_answer_is_not_waited_for(server: ModelsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probing, "PROBE_SECONDS", 0.2)
    server.hang = True
    tested = await asyncio.wait_for(ask(server.url), 10)
    assert (tested.verdict, tested.status) == (Verdict.UNREACHABLE, None)


async def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    assert (await ask(f"http://127.0.0.1:{port}/v1")).verdict is Verdict.UNREACHABLE


async def test_inside_nobody_is_asked(server: ModelsServer) -> None:
    for host in ("127.0.0.1", "localhost", "2130706433", "[::ffff:127.0.0.1]", "0x7f000001"):
        assert (await ask(f"http://{host}:{server.port}/v1", allow="10.0.0.1")).verdict is Verdict.NOT_ALLOWED
    assert server.asked == []


def test_the_tables_speak_of_the_same_providers() -> None:
    assert PROVIDERS.keys() == OPERATOR.keys()
    assert {name for name, provider in PROVIDERS.items() if provider.base_url is None} == ADDRESSED


def test_a_short_key_shows_nothing_of_itself() -> None:
    for key in (None, SecretStr(""), SecretStr("x" * (LONG_ENOUGH - 1))):
        assert (Pair(key, None).last_four, Pair(key, None).fingerprint) == (None, None)
    pair = Pair(SecretStr("x" * (LONG_ENOUGH - 4) + "abcd"), None)
    assert pair.last_four == "abcd"
    assert (pair.fingerprint or "").startswith("sha256:")
    assert "abcd" not in repr(pair)
