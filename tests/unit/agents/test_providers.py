"""Who is asked with which key: tenants, keys that change, SDKs that are not there."""

import asyncio
import io
import json
import sys
from dataclasses import replace
from functools import partial

import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from pydantic import SecretStr
from urllib3 import HTTPResponse

from runtime.agents.context import AgentContext
from runtime.agents.credentials import Credential
from runtime.agents.factories import FACTORIES, region_of
from runtime.agents.loop import run_agent
from runtime.agents.providers import Providers
from runtime.errors import StepFailed
from runtime.settings import Settings
from runtime.steps.addresses import AllowList
from runtime.steps.outbound import Outbound
from tests.support.openai_server import Refuse, Text
from tests.support.wires import Given, wires


async def ask(providers: Providers, model: str, tenant: str = "default") -> str:
    context = AgentContext(providers, lambda reference: None, tenant=tenant, timeout=20)
    return (await run_agent({"prompt": "x"}, mode="live", default_model=model, context=context)).output


async def test_each_tenant_has_its_own_key_and_all_share_one_client():
    async with wires("openai") as (wire,):
        given = Given({f"{tenant}/openai": Credential("openai", SecretStr(f"key of {tenant}"), wire.server.url) for tenant in ("a", "b")})
        providers = Providers(Settings(), given)
        for tenant in ("a", "b", "a"):
            await ask(providers, "openai:m", tenant)
        assert [request.headers["authorization"] for request in wire.server.requests] == [f"Bearer key of {tenant}" for tenant in ("a", "b", "a")]
        first, second, again = [await providers.choose("openai:m", tenant) for tenant in ("a", "b", "a")]
        assert first is again
        assert first is not second
        assert first.model.client._client is second.model.client._client
        await providers.aclose()


async def test_addresses_of_tenants_are_reached_through_the_guarded_way_alone():
    async with wires("openai", "anthropic") as (openai, anthropic):
        given = Given({"openai": openai.credential(), "anthropic": replace(anthropic.credential(), trusted=True)})
        providers = Providers(Settings(), given, partial(Outbound, AllowList.parse([])))
        with pytest.raises(StepFailed) as caught:
            await ask(providers, "openai:m")
        assert (caught.value.error_code, caught.value.retryable, openai.server.calls) == ("outbound_refused", False, 0)
        assert await ask(providers, "anthropic:m") == "an answer", "the operator's address may be anywhere"
        await providers.aclose()


async def test_a_key_that_was_replaced_is_used_as_soon_as_the_old_one_is_refused():
    async with wires("openai") as (wire,):
        given = Given({"openai": wire.credential("old")})
        providers = Providers(Settings(), given)
        assert await ask(providers, "openai:m") == "an answer"
        given.credentials["openai"] = wire.credential("new")
        wire.server.say(Refuse(401), Text("with the new one"))
        assert await ask(providers, "openai:m") == "with the new one"
        assert [request.headers["authorization"] for request in wire.server.requests] == ["Bearer old", "Bearer old", "Bearer new"]
        await providers.aclose()


async def test_a_key_that_is_refused_is_asked_for_again_the_next_time():
    async with wires("anthropic") as (wire,):
        given = Given({"anthropic": wire.credential()})
        providers = Providers(Settings(), given)
        wire.server.default = lambda request: Refuse(401)
        for _ in range(2):
            with pytest.raises(StepFailed) as caught:
                await ask(providers, "anthropic:m")
            assert caught.value.error_code == "provider_unauthorized"
        assert wire.server.calls == 2, "the same key is not tried twice"
        assert given.asked == 3
        await providers.aclose()


@pytest.mark.parametrize(("provider", "package"), [("anthropic", "anthropic"), ("google", "google.genai.types")])
async def test_an_sdk_that_is_not_installed(monkeypatch, provider, package):
    monkeypatch.setitem(sys.modules, package, None)
    providers = Providers(Settings(), Given({provider: Credential(provider, SecretStr("k"), "https://bedrock-runtime.us-east-1.amazonaws.com")}))
    with pytest.raises(StepFailed) as caught:
        await providers.choose(f"{provider}:m")
    assert (caught.value.error_code, caught.value.retryable) == ("provider_not_installed", False)
    assert f"agentic-workflows[{FACTORIES[provider].extra}]" in str(caught.value)
    await providers.aclose()


@pytest.mark.parametrize(
    ("provider", "credential"),
    [
        ("openai-compatible", Credential("openai-compatible", SecretStr("k"))),
        ("bedrock", Credential("bedrock", SecretStr("k"))),
        ("bedrock", Credential("bedrock", None, "https://bedrock-runtime.us-east-1.amazonaws.com")),
    ],
)
async def test_what_a_provider_cannot_do_without(provider, credential):
    """Bedrock without a key would sign with whatever role the machine has, which is not the tenant's."""
    providers = Providers(Settings(), Given({provider: credential}))
    with pytest.raises(StepFailed) as caught:
        await providers.choose(f"{provider}:m")
    assert caught.value.error_code == "provider_not_configured"
    await providers.aclose()


async def test_nothing_is_taken_from_the_environment(monkeypatch):
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_ORG_ID", "ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_BASE_URL", "GOOGLE_API_KEY"):
        monkeypatch.setenv(name, "http://of.the.environment")
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with wires("openai-compatible", "anthropic") as made:
        providers = Providers(Settings(), Given({wire.provider: Credential(wire.provider, None, wire.server.url) for wire in made}))
        for wire in made:
            await ask(providers, wire.model)
            (request,) = wire.server.requests
            assert "of.the.environment" not in json.dumps(request.headers)
        await providers.aclose()


class Recorded:
    """A server that keeps what it was sent and answers with one body."""

    def __init__(self, body: dict[str, object]) -> None:
        self.body = json.dumps(body).encode()
        self.heads: list[str] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = next((int(line.split(":")[1]) for line in head.split("\r\n") if line.lower().startswith("content-length:")), 0)
        await reader.readexactly(length)
        self.heads.append(head)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(self.body) + self.body)
        await writer.drain()
        writer.close()


GOOGLE = {"candidates": [{"content": {"role": "model", "parts": [{"text": "from google"}]}, "finishReason": "STOP"}], "usageMetadata": {"promptTokenCount": 3}}
BEDROCK = {
    "output": {"message": {"role": "assistant", "content": [{"text": "from bedrock"}]}},
    "stopReason": "end_turn",
    "usage": {"inputTokens": 3, "outputTokens": 2, "totalTokens": 5},
    "metrics": {"latencyMs": 1},
}


async def test_google_is_asked_at_its_address_with_its_key():
    recorded = Recorded(GOOGLE)
    async with await asyncio.start_server(recorded, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        providers = Providers(Settings(), Given({"google": Credential("google", SecretStr("the-key"), url)}))
        assert await ask(providers, "google:some-model") == "from google"
        await providers.aclose()
    (head,) = recorded.heads
    assert "x-goog-api-key: the-key" in head.lower()
    assert "models/some-model:generatecontent" in head.lower()


class Wiretap:
    """Stands where botocore would send a request: keys go over TLS only, which a local server has no certificate for."""

    def __init__(self) -> None:
        self.sent: list[AWSPreparedRequest] = []
        self.answers: list[tuple[int, dict[str, object]]] = []

    def __call__(self, request: AWSPreparedRequest, **_rest: object) -> AWSResponse:
        self.sent.append(request)
        status, body = self.answers.pop(0)
        raw = HTTPResponse(body=io.BytesIO(json.dumps(body).encode()), status=status, preload_content=False)
        return AWSResponse(request.url, status, {"content-type": "application/json"}, raw)


async def test_bedrock_is_asked_once_at_its_address_with_its_key(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "of the machine")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "of the machine")
    url = "https://bedrock-runtime.eu-central-1.amazonaws.com"
    providers = Providers(Settings(), Given({"bedrock": Credential("bedrock", SecretStr("the-key"), url)}))
    tap = Wiretap()
    (await providers.choose("bedrock:some-model")).model.client.meta.events.register("before-send.bedrock-runtime", tap)
    tap.answers = [(200, BEDROCK), (503, {"message": "later"})]
    assert await ask(providers, "bedrock:some-model") == "from bedrock"
    assert (tap.sent[0].url, tap.sent[0].headers["Authorization"]) == (f"{url}/model/some-model/converse", b"Bearer the-key")
    with pytest.raises(StepFailed) as caught:
        await ask(providers, "bedrock:some-model")
    assert (caught.value.error_code, len(tap.sent)) == ("provider_unavailable", 2)
    await providers.aclose()


def test_the_region_of_an_address():
    assert region_of("https://bedrock-runtime.eu-central-1.amazonaws.com") == "eu-central-1"
    assert region_of("https://gateway.example.org/bedrock") == "us-east-1"
