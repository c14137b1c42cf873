"""Agent steps within runs: what one step hands to the next, what outlives a run, and what is shown to a model."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from runtime.agents.loop import warm
from runtime.agents.providers import Providers
from runtime.api.app import build_app
from runtime.api.keys import ADMIN, issue
from runtime.api.services import Services, over
from runtime.engine.events import Event, Kind
from runtime.errors import NotFound
from runtime.gateway import StartRequest
from runtime.gateway.conversations import Conversations
from runtime.local import LocalPlatform
from runtime.settings import Settings
from runtime.store.protocol import RunRow
from tests.support.openai_server import Text, ToolCalls
from tests.support.wires import Given, Wire, wires

FUNCTIONS = "tests.api.functions"


@pytest.fixture(params=["openai", "anthropic"])
async def wire(request, monkeypatch) -> AsyncIterator[Wire]:
    """A provider the platform asks with a key of the test's own."""
    await warm()
    async with wires(request.param) as (made,):
        credentials = Given({made.provider: made.credential()})
        monkeypatch.setattr("runtime.steps.agent.Providers", lambda settings, *_rest: Providers(settings, credentials))
        yield made


def settings(home: Path, **changes: Any) -> Settings:
    return Settings(home=home, run_mode="live", drain_ms=100, python_modules=["tests"], **changes)


@pytest.fixture
async def platform(tmp_path: Path) -> AsyncIterator[LocalPlatform]:
    async with LocalPlatform(settings(tmp_path)) as running:
        yield running


async def start(platform: LocalPlatform, steps: dict[str, Any], *, mode: str = "live", tenant: str = "default", **more: Any) -> RunRow:
    inputs = more.pop("given", {})
    await platform.gateway.publish(tenant, {"name": "talk", "steps": steps, **more})
    return (await platform.gateway.start(tenant, StartRequest("talk", inputs, mode=mode))).run


async def end(platform: LocalPlatform, run: RunRow) -> RunRow:
    row = await platform.gateway.wait(run.tenant, run.run_id, 40)
    assert row.status.ended
    return row


async def succeed(platform: LocalPlatform, steps: dict[str, Any], **more: Any) -> RunRow:
    row = await end(platform, await start(platform, steps, **more))
    assert row.status == "succeeded", row.error
    return row


async def journal(platform: LocalPlatform, run: RunRow, *kinds: Kind) -> list[Event]:
    return [event for event in await platform.store.journal.events(run.run_id) if not kinds or event.kind in kinds]


async def test_a_step_goes_on_where_another_left_off(wire: Wire, platform: LocalPlatform) -> None:
    wire.server.say(Text("a long draft"), Text("short"))
    steps = {
        "draft": {"agent": {"prompt": "Write.", "model": wire.model}},
        "revise": {"agent": {"prompt": "Shorter.", "model": wire.model, "history": "${{ steps.draft.messages }}"}},
    }
    row = await succeed(platform, steps, outputs={"text": "steps.revise.output", "said": "steps.draft.messages"})
    second = wire.server.requests[1]
    assert (second.texts("user"), second.texts("assistant")) == (["Write.", "Shorter."], ["a long draft"])
    assert row.result == {"text": "short", "said": [{"role": "user", "content": "Write."}, {"role": "assistant", "content": "a long draft"}]}
    kept = {event.step: "messages" in event.body for event in await journal(platform, row, Kind.STEP_SUCCEEDED)}
    assert kept == {"draft": True, "revise": False}, "what nobody reads is not kept"


async def test_messages_that_are_large_go_through_the_artifact_store(wire: Wire, platform: LocalPlatform) -> None:
    wire.server.say(Text("x" * 100_000), Text("short"))
    steps = {
        "draft": {"agent": {"prompt": "Write.", "model": wire.model}},
        "revise": {"agent": {"prompt": "Shorter.", "model": wire.model, "history": "${{ steps.draft.messages }}"}},
    }
    row = await succeed(platform, steps)
    assert wire.server.requests[1].texts("assistant") == ["x" * 100_000]
    (draft, _) = await journal(platform, row, Kind.STEP_SUCCEEDED)
    assert set(draft.body["messages"]) == {"$artifact"}


async def test_history_may_come_from_outside(wire: Wire, platform: LocalPlatform) -> None:
    steps = {"answer": {"agent": {"prompt": "And now?", "model": wire.model, "history": "${{ inputs.before }}"}}}
    before = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi"}]
    await succeed(platform, steps, inputs={"before": {"type": "array"}}, given={"before": before})
    assert wire.server.requests[0].texts("user") == ["Hello", "And now?"]


async def test_a_fork_keeps_what_was_said(wire: Wire, platform: LocalPlatform) -> None:
    steps = {
        "draft": {"agent": {"prompt": "Write.", "model": wire.model}},
        "revise": {"agent": {"prompt": "Shorter.", "model": wire.model, "history": "${{ steps.draft.messages }}"}},
    }
    row = await succeed(platform, steps)
    forked = await platform.gateway.fork("default", row.run_id, from_step="revise")
    await end(platform, forked.run)
    assert wire.server.calls == 3
    assert wire.server.requests[2].messages == wire.server.requests[1].messages


CHAT = {"answer": {"agent": {"prompt": "${{ inputs.text }}", "conversation": "${{ inputs.thread }}"}}}
CHAT_INPUTS = {"text": {"type": "string"}, "thread": {"type": "string"}}


async def chat(platform: LocalPlatform, wire: Wire, text: str, thread: str = "customer-42", **more: Any) -> RunRow:
    return await succeed(platform, CHAT, inputs=CHAT_INPUTS, defaults={"model": wire.model}, given={"text": text, "thread": thread}, **more)


async def test_a_conversation_outlives_its_runs(wire: Wire, platform: LocalPlatform) -> None:
    wire.server.default = lambda request: Text(f"answer {len(request.texts('user'))}")
    first = await chat(platform, wire, "one")
    await chat(platform, wire, "two")
    await chat(platform, wire, "elsewhere", thread="customer-43")
    assert [request.texts("user") for request in wire.server.requests] == [["one"], ["one", "two"], ["elsewhere"]]
    assert wire.server.requests[1].texts("assistant") == ["answer 1"]
    talks = Conversations(platform.store.conversations)
    found = await talks.exchanges("default", "customer-42", "live", after=0, limit=10)
    assert (found[0].run_id, found[0].step) == (first.run_id, "answer")
    assert [one.messages[0]["content"] for one in found] == ["one", "two"]
    with pytest.raises(NotFound):
        await talks.conversation("other", "customer-42", "live")
    await talks.remove("default", "customer-42", "live")
    await chat(platform, wire, "three")
    assert wire.server.requests[-1].texts("user") == ["three"]


async def test_steps_of_one_run_take_turns_in_a_conversation(wire: Wire, platform: LocalPlatform) -> None:
    agent = {"model": wire.model, "conversation": "pair"}
    steps = {"ask": {"agent": {"prompt": "one", **agent}}, "again": {"agent": {"prompt": "two", **agent}, "needs": ["ask"]}}
    await succeed(platform, steps)
    assert wire.server.requests[1].texts("user") == ["one", "two"]
    found = await platform.store.conversations.page("default", "pair", after=0, limit=10)
    assert [(one.seq, one.step) for one in found] == [(1, "ask"), (2, "again")]


async def test_each_round_of_a_loop_is_an_exchange(wire: Wire, platform: LocalPlatform) -> None:
    step = {"agent": {"prompt": "round ${{ iteration }}", "model": wire.model, "conversation": "rounds"}, "loop": {"max_iterations": 3}}
    await succeed(platform, {"talk": step})
    assert wire.server.requests[2].texts("user") == ["round 0", "round 1", "round 2"]
    assert len(await platform.store.conversations.page("default", "rounds", after=0, limit=10)) == 3


async def test_what_fails_adds_nothing(wire: Wire, platform: LocalPlatform) -> None:
    wire.server.default = lambda request: ToolCalls(("nobody", {}))
    steps = {"answer": {"agent": {"prompt": "x", "model": wire.model, "conversation": "sad", "limits": {"turns": 1}}}}
    assert (await end(platform, await start(platform, steps))).status == "failed"
    assert await platform.store.conversations.read("default", "sad") is None


async def test_simulated_runs_have_conversations_of_their_own(platform: LocalPlatform) -> None:
    steps = {"answer": {"agent": {"prompt": "Pumps leak. They are old.", "conversation": "t"}}}
    for _ in range(2):
        await succeed(platform, steps, mode="simulated")
    talks = Conversations(platform.store.conversations)
    assert (await talks.conversation("default", "t", "simulated")).head == 2
    with pytest.raises(NotFound):
        await talks.conversation("default", "t", "live")


@pytest.mark.parametrize("name", ["", "two words", "a/b", "-a", "x" * 129])
async def test_names_that_are_none(platform: LocalPlatform, name: str) -> None:
    steps = {"answer": {"agent": {"prompt": "x", "conversation": "${{ inputs.thread }}"}}}
    row = await end(platform, await start(platform, steps, mode="simulated", inputs={"thread": {"type": "string"}}, given={"thread": name}))
    assert (row.status, (row.error or {})["code"]) == ("failed", "expression_failed")


async def test_attachments_are_artifacts_of_earlier_steps(wire: Wire, platform: LocalPlatform) -> None:
    draw = {"function": f"{FUNCTIONS}:draw", "args": {"name": "${{ item }}"}}
    look = {"prompt": "Look.", "model": wire.model}
    steps = {
        "draw": {"python": draw, "map": {"over": "['a', 'b']"}},
        "each": {"agent": {**look, "attachments": "${{ item }}"}, "map": {"over": "steps.draw.output"}},
        "all": {"agent": {**look, "attachments": "${{ steps.draw.artifacts }}"}, "needs": ["each"]},
        "one": {"agent": {**look, "attachments": ["${{ steps.draw.artifacts['b.png'] }}"]}, "needs": ["all"]},
    }
    row = await succeed(platform, steps)
    assert [str(request.messages).count("iVBOR") for request in wire.server.requests] == [1, 1, 2, 1]
    events = await journal(platform, row)
    assert "iVBOR" not in str([event.body for event in events])
    forked = await platform.gateway.fork("default", row.run_id, from_step="one")
    assert (await end(platform, forked.run)).status == "succeeded"


async def test_what_no_step_has_saved_is_not_shown(wire: Wire, platform: LocalPlatform) -> None:
    """A hash somebody knows is not a right."""
    digest, size = await platform.gateway.artifacts.put(b"of another run")
    given = {"name": "x.txt", "sha256": digest, "size": size, "media_type": "text/plain"}
    steps = {
        "draw": {"python": {"function": f"{FUNCTIONS}:draw", "args": {"name": "a"}}},
        "look": {"agent": {"prompt": "Look.", "model": wire.model, "attachments": ["${{ inputs.file }}"]}, "needs": ["draw"]},
    }
    row = await end(platform, await start(platform, steps, inputs={"file": {"type": "object"}}, given={"file": given}))
    assert ((row.error or {})["code"], wire.server.calls) == ("attachment_invalid", 0)


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
async def test_a_tenant_pays_with_its_own_key(tmp_path: Path, provider: str) -> None:
    """And whoever has none is not lent it."""
    async with wires(provider) as (wire,), LocalPlatform(settings(tmp_path, outbound_allow=["127.0.0.1"])) as platform:
        keys = over(platform.store, platform.gateway, platform.settings).provider_keys
        await keys.put("default", provider, SecretStr("sk-of-the-tenant-alone"), wire.server.url, by="tester")
        steps = {"answer": {"agent": {"prompt": "x", "model": wire.model}}}
        await succeed(platform, steps)
        (request,) = wire.server.requests
        assert "sk-of-the-tenant-alone" in (request.headers.get("authorization") or request.headers["x-api-key"])
        other = await end(platform, await start(platform, steps, tenant="other"))
        assert other.error is not None
        assert (other.error["code"], wire.server.calls) == ("provider_not_configured", 1)


@asynccontextmanager
async def client_of(platform: LocalPlatform, tenant: str = "default") -> AsyncIterator[httpx2.AsyncClient]:
    @asynccontextmanager
    async def opened() -> AsyncIterator[Services]:
        yield over(platform.store, platform.gateway, platform.settings)

    app: FastAPI = build_app(opened, platform.settings)
    key, _ = await issue(platform.store.catalog, tenant, name="tester", scopes=(ADMIN,), now=platform.gateway.clock.now())
    transport = httpx2.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1", headers={"Authorization": f"Bearer {key.text}"}) as client,
    ):
        yield client


async def test_conversations_over_http(platform: LocalPlatform) -> None:
    steps = {"answer": {"agent": {"prompt": "Pumps leak.", "conversation": "user@example.org:1"}}}
    for _ in range(3):
        await succeed(platform, steps, mode="simulated")
    address = "/v1/conversations/user@example.org:1"
    async with client_of(platform) as client, client_of(platform, "other") as stranger:
        assert (await client.get(address)).status_code == 404
        assert (await stranger.get(address, params={"mode": "simulated"})).status_code == 404
        assert (await stranger.delete(address, params={"mode": "simulated"})).status_code == 404
        page = (await client.get(address, params={"mode": "simulated", "page_size": 2})).json()
        assert (page["conversation_id"], page["last_seq"], [one["seq"] for one in page["exchanges"]]) == ("user@example.org:1", 3, [1, 2])
        rest = (await client.get(address, params={"mode": "simulated", "page_size": 2, "page_token": page["next_page_token"]})).json()
        assert [one["seq"] for one in rest["exchanges"]] == [3]
        assert [message["role"] for message in rest["exchanges"][0]["messages"]] == ["user", "assistant"]
        assert (await client.delete(address, params={"mode": "simulated"})).status_code == 204
        assert (await client.delete(address, params={"mode": "simulated"})).status_code == 404
        assert (await client.get("/v1/conversations/simulated%2Fx")).status_code == 404
