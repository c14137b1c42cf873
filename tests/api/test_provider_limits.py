"""Limits of provider keys and kept answers, from outside."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from pydantic import SecretStr

from runtime.agents.loop import warm
from runtime.api.app import build_app
from runtime.api.keys import ADMIN, READ, issue
from runtime.api.services import over
from runtime.gateway import StartRequest
from runtime.keys.base_urls import BaseUrls
from runtime.keys.service import ProviderKeys
from runtime.local import LocalPlatform
from runtime.secrets import open_box
from runtime.settings import Settings
from tests.api.conftest import serving
from tests.api.world import World
from tests.support.openai_server import OpenAIServer, Slow, Text, openai_server

KEY = "sk-canary-27182818284590"
NONE = {"requests_per_minute": None, "tokens_per_minute": None, "in_flight": None}
PATH = "/v1/provider-keys/openai"


async def test_limits_lie_beside_the_key_and_stay_with_another_one(client: httpx2.AsyncClient) -> None:
    made = (await client.put(PATH, json={"key": KEY})).json()
    assert made["limits"] == NONE
    limited = await client.put(f"{PATH}/limits", json={"requests_per_minute": 3000, "in_flight": 50})
    assert limited.status_code == 200
    assert limited.json()["limits"] == {**NONE, "requests_per_minute": 3000, "in_flight": 50}
    assert limited.json()["fingerprint"] == made["fingerprint"]
    assert (await client.put(PATH, json={"key": "sk-another-key-of-mine-1234"})).json()["limits"]["requests_per_minute"] == 3000
    assert (await client.put(f"{PATH}/limits", json={})).json()["limits"] == NONE


@pytest.mark.parametrize("body", [{"requests_per_minute": 0}, {"in_flight": "5"}, {"tokens_per_minute": 10**10}, {"key": "sk-x"}, {"requests": 1}])
async def test_wrong_limits(client: httpx2.AsyncClient, body: dict[str, Any]) -> None:
    await client.put(PATH, json={"key": KEY})
    assert (await client.put(f"{PATH}/limits", json=body)).status_code == 422


async def test_only_an_admin_of_the_tenant(client: httpx2.AsyncClient, world: World) -> None:
    assert (await client.put(f"{PATH}/limits", json={})).status_code == 404
    await client.put(PATH, json={"key": KEY})
    for tenant, scope, expected in (("default", READ, 403), ("other", ADMIN, 404)):
        key, _ = await issue(world.store.catalog, tenant, name="o", scopes=(scope,), now=0)
        headers = {"Authorization": f"Bearer {key.text}"}
        assert (await client.put(f"{PATH}/limits", json={}, headers=headers)).status_code == expected
        for method, path in (("GET", "/v1/provider-limits"), ("GET", "/v1/cached-calls"), ("DELETE", "/v1/cached-calls")):
            assert (await client.request(method, path, headers=headers)).status_code == (403 if scope == READ else 200), path


@pytest.fixture
async def server() -> AsyncIterator[OpenAIServer]:
    async with openai_server() as running:
        yield running


@pytest.fixture
async def platform(server: OpenAIServer, tmp_path: Path) -> AsyncIterator[LocalPlatform]:
    await warm()
    settings = Settings(home=tmp_path, run_mode="live", drain_ms=100, outbound_allow=["127.0.0.1"], provider_limits={"openai": {"in_flight": 2}})
    async with LocalPlatform(settings) as running:
        yield running


@pytest.fixture
async def live(platform: LocalPlatform, server: OpenAIServer) -> AsyncIterator[httpx2.AsyncClient]:
    """The API of a platform that carries runs out, with a stored key for the server."""

    @asynccontextmanager
    async def services() -> AsyncIterator[Any]:
        yield over(platform.store, platform.gateway, platform.settings)

    key, _ = await issue(platform.store.catalog, "default", name="t", scopes=(ADMIN,), now=0)
    built = build_app(services, platform.settings)
    async with built.router.lifespan_context(built), serving(built, key.text) as client:
        assert (await client.put(PATH, json={"key": KEY, "base_url": server.url})).status_code == 200
        yield client


async def start(platform: LocalPlatform, **agent: Any) -> str:
    document = {"name": "talk", "steps": {"a": {"agent": {"model": "openai:m", "prompt": "${{ item }}", **agent}, "map": {"over": "[1, 2, 3, 4, 5]"}}}}
    await platform.gateway.publish("default", document)
    return (await platform.gateway.start("default", StartRequest("talk"))).run.run_id


async def test_what_waits_is_shown_and_a_cancel_lets_it_go(platform: LocalPlatform, live: httpx2.AsyncClient, server: OpenAIServer) -> None:
    release = asyncio.Event()
    server.default = lambda request: Slow(Text("late"), release=release)
    run_id = await start(platform)
    async with asyncio.timeout(30):
        while True:
            (seen,) = (await live.get("/v1/provider-limits")).json()["provider_limits"] or [{"waiting": 0}]
            if seen["waiting"] == 3:
                break
            await asyncio.sleep(0.02)
    assert (seen["provider"], seen["shared"], seen["in_flight"], seen["limits"]) == ("openai", False, 2, {**NONE, "in_flight": 2})
    assert [model["model"] for model in seen["models"]] == ["m"]
    assert KEY not in str(seen)
    await live.post(f"/v1/runs/{run_id}:cancel", json={})
    canceled = time.monotonic()
    while (await live.get("/v1/provider-limits")).json()["provider_limits"][0]["waiting"]:
        assert time.monotonic() - canceled < 2
    assert server.calls == 2


async def test_waiting_is_not_the_attempts_time_and_has_a_bound_of_its_own(platform: LocalPlatform, server: OpenAIServer) -> None:
    server.default = lambda request: Slow(Text("late"), seconds=0.6)
    document = {
        "name": "patient",
        "steps": {
            "a": {"agent": {"model": "openai:m", "prompt": "${{ item }}"}, "map": {"over": "[1, 2, 3, 4, 5, 6]"}, "timeout": "1500ms"},
            "b": {
                "agent": {"model": "openai:m", "prompt": "${{ item }}", "limits": {"limiter_wait": "100ms"}},
                "map": {"over": "[1, 2, 3]", "max_failures": "100%"},
                "retry": {"max_attempts": 1},
                "needs": ["a"],
            },
        },
    }
    keys = ProviderKeys(platform.store.provider_keys, open_box(platform.settings), BaseUrls(["127.0.0.1"]))
    await keys.put("default", "openai", SecretStr(KEY), server.url, by="test")
    await platform.gateway.publish("default", document)
    run = (await platform.gateway.start("default", StartRequest("patient"))).run
    row = await platform.gateway.wait("default", run.run_id, 40)
    assert row.status == "succeeded", row.error
    steps = await platform.gateway.steps("default", run.run_id)
    assert [item is None for item in (row.result or {}).get("b", [])].count(True) == 1, row.result
    assert steps["a"].status == "succeeded"


async def test_kept_answers_are_counted_and_forgotten(platform: LocalPlatform, live: httpx2.AsyncClient, server: OpenAIServer) -> None:
    for _ in range(2):
        await platform.gateway.wait("default", await start(platform, cache={"ttl": "1h"}), 30)
    assert server.calls == 5
    found = (await live.get("/v1/cached-calls")).json()
    assert found["entries"] == 5
    assert found["bytes"] > 500
    assert (await live.delete("/v1/cached-calls", params={"workflow": "another"})).json() == {"removed": 0}
    assert (await live.delete("/v1/cached-calls")).json() == {"removed": 5}
    await platform.gateway.wait("default", await start(platform, cache={"ttl": "1h"}), 30)
    assert server.calls == 10
    metrics = (await live.get("/metrics")).text
    assert 'provider_limiter_wait_seconds_count{provider="openai"} 10.0' in metrics
    assert 'provider_api_calls_total{provider="openai",status="success"} 10.0' in metrics
    assert 'model_call_seconds_count{model="m",provider="openai"} 10.0' in metrics
