"""Budgets in runs, over a real model server: they hold with 200 calls at once, and a person may let a run go on."""

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from runtime.agents.loop import warm
from runtime.budgets import cashier
from runtime.engine.events import Event, Kind
from runtime.gateway import StartRequest
from runtime.local import LocalPlatform
from runtime.money.amounts import NOTHING, Amount
from runtime.money.purse import EXPIRES_MS, Payer, Wish
from runtime.settings import Settings
from runtime.store.fsck import fsck
from runtime.store.money_protocol import BudgetRow, Limits, UsageQuery, UsageRow
from runtime.store.protocol import RunQuery, RunRow
from tests.support.openai_server import OpenAIServer, Refusal, Refuse, Slow, Text, openai_server

MODEL = "openai:gpt-5-mini"
CALL = Decimal("0.000045")
"""100 tokens in for 0.25 and 10 out for 2 dollars a million: what the server says each of its answers took."""


@pytest.fixture
async def server() -> AsyncIterator[OpenAIServer]:
    async with openai_server() as running:
        yield running


@pytest.fixture
async def platform(server: OpenAIServer, tmp_path: Path) -> AsyncIterator[LocalPlatform]:
    await warm()
    settings = Settings(home=tmp_path, openai_base_url=server.url, openai_api_key="k", run_mode="live", drain_ms=100, python_modules=["tests"])
    async with LocalPlatform(settings) as running:
        yield running


def flow(*, items: int | None = None, agent: dict[str, Any] | None = None, **document: Any) -> dict[str, Any]:
    """One agent step that asks once, or once for each item."""
    ask: dict[str, Any] = {"agent": {"model": MODEL, "prompt": "say ${{ index }}" if items else "say", "max_tokens": 100, **(agent or {})}, "timeout": "30s"}
    if items:
        ask["map"] = {"over": str(list(range(items))), "concurrency": items}
    return {"name": "talk", "steps": {"ask": ask}, **document}


async def start(platform: LocalPlatform, document: dict[str, Any], **request: Any) -> RunRow:
    await platform.gateway.publish("default", document)
    return (await platform.gateway.start("default", StartRequest(document["name"], user="key-1", **request))).run


async def until(platform: LocalPlatform, run_id: str, *statuses: str) -> RunRow:
    async with asyncio.timeout(40):
        while (row := await platform.gateway.run("default", run_id)).status.value not in statuses:
            await platform.host.watch(run_id, row.head, 1)
    return row


async def ended(platform: LocalPlatform, run_id: str) -> RunRow:
    return await until(platform, run_id, "succeeded", "failed", "canceled")


async def events(platform: LocalPlatform, run_id: str) -> list[Event]:
    return await platform.store.journal.events(run_id, limit=5000)


async def used(platform: LocalPlatform, **which: Any) -> UsageRow:
    (total,) = await platform.store.money.usage(UsageQuery("default", **which))
    return total


async def test_a_call_is_in_the_ledger_with_its_price(server: OpenAIServer, platform: LocalPlatform) -> None:
    run = await start(platform, flow())
    assert (await ended(platform, run.run_id)).status == "succeeded"
    (call,) = [event for event in await events(platform, run.run_id) if event.kind is Kind.CALL_FINISHED]
    assert call.body is not None
    usage = call.body["usage"]
    assert (usage["provider"], usage["model"], usage["answered"], usage["usd"]) == ("openai", MODEL, "gpt-5-mini", str(CALL))
    assert usage["prices"].startswith("genai-prices ")
    assert usage["latency_ms"] >= 0
    (row,) = await platform.store.money.usage(UsageQuery("default", ("run", "step", "workflow", "user", "model"), run_id=run.run_id))
    assert row.group == {"run": run.run_id, "workflow": "talk", "step": "ask", "user": "key-1", "model": MODEL}
    assert (row.calls, row.input_tokens, row.output_tokens, row.usd, row.unpriced_calls) == (1, 100, 10, CALL, 0)


async def test_two_hundred_items_at_once_do_not_overshoot_calls(server: OpenAIServer, platform: LocalPlatform) -> None:
    server.latency = 0.05
    run = await start(platform, flow(items=200, budget={"calls": 73}))
    row = await ended(platform, run.run_id)
    assert row.error is not None
    assert (row.status, row.error["code"], row.error["details"]["budget"]["limit"]) == ("failed", "budget_exceeded", 73)
    assert server.calls <= 73
    assert (await used(platform)).calls <= 73
    assert await fsck(platform.store) == []


async def test_two_hundred_items_at_once_do_not_overshoot_dollars(server: OpenAIServer, platform: LocalPlatform) -> None:
    """More is held back for a call than it takes, so that fewer go out at once towards the end; what is spent is never more than the limit."""
    server.latency = 0.01
    document = flow(items=200, budget={"usd": 0.005})
    document["steps"]["ask"]["map"]["max_failures"] = "100%"
    run = await start(platform, document)
    assert (await ended(platform, run.run_id)).status == "succeeded"
    total = await used(platform)
    assert (total.calls, total.usd) == (server.calls, server.calls * CALL)
    assert total.usd <= Decimal("0.005") < total.usd + Decimal("0.001"), "all of it, but for what one more call might have taken"
    budget = await platform.store.money.budget_of("default", run.run_id)
    assert budget is not None
    assert (budget.spent.usd, budget.held.calls) == (total.usd, 0)


async def test_the_lower_of_definition_and_start_counts(server: OpenAIServer, platform: LocalPlatform) -> None:
    for defined, given, expected in ((5, 2, 2), (2, 5, 2)):
        server.requests.clear()
        run = await start(platform, flow(items=8, budget={"calls": defined}), budget={"calls": given})
        assert (await ended(platform, run.run_id)).status == "failed"
        assert server.calls <= expected


async def test_ask_pauses_and_a_higher_budget_lets_it_go_on(server: OpenAIServer, platform: LocalPlatform) -> None:
    run = await start(platform, flow(items=20, budget={"calls": 8, "on_exceeded": "ask"}))
    row = await until(platform, run.run_id, "paused")
    assert row.waiting_for == "budget"
    state = await platform.gateway.state("default", run.run_id)
    assert state.short is not None
    assert (state.short["measure"], state.short["limit"], state.short["name"]) == ("calls", 8, run.run_id)
    await platform.gateway.resume("default", run.run_id)
    while len([event for event in await events(platform, run.run_id) if event.kind is Kind.RUN_PAUSED]) < 2:
        await platform.host.watch(run.run_id, (await platform.gateway.run("default", run.run_id)).head, 1)
    assert server.calls == 8
    await platform.gateway.resume("default", run.run_id, budget={"calls": 100}, by="tester")
    row = await ended(platform, run.run_id)
    assert (row.status, server.calls, (await used(platform)).calls) == ("succeeded", 20, 20)
    (raised,) = [event.body for event in await events(platform, run.run_id) if event.kind is Kind.RUN_RESUMED and event.body]
    assert raised == {"budget": {"calls": 100}, "by": "tester"}
    assert await fsck(platform.store) == []


async def test_a_child_run_spends_the_money_of_the_one_above(server: OpenAIServer, platform: LocalPlatform) -> None:
    await platform.gateway.publish("default", {**flow(), "name": "below"})
    above = {"name": "above", "budget": {"calls": 2, "on_exceeded": "ask"}, "steps": {"each": {"workflow": {"name": "below"}, "map": {"over": "[1, 2, 3, 4]"}}}}
    run = await start(platform, above)
    async with asyncio.timeout(50):
        while len(paused := await platform.gateway.runs("default", _paused(run.run_id))) < 2:  # noqa: ASYNC110 - the condition is in the database
            await asyncio.sleep(0.02)
    assert {row.waiting_for for row in paused} == {"budget"}
    assert (server.calls, (await used(platform, root_run=run.run_id)).calls) == (2, 2)
    await platform.gateway.resume("default", run.run_id, budget={"calls": 4})
    assert (await ended(platform, run.run_id)).status == "succeeded"
    assert (server.calls, (await used(platform, root_run=run.run_id)).calls) == (4, 4)


def _paused(parent: str) -> RunQuery:
    return RunQuery("default", parent_run=parent, status=("paused",))


async def test_a_budget_of_a_user_holds_over_runs(server: OpenAIServer, platform: LocalPlatform) -> None:
    now = platform.gateway.clock.now()
    first = await start(platform, flow())
    await ended(platform, first.run_id)
    await platform.store.money.put(BudgetRow("default", "user", "key-1", "day", Limits(calls=2), "stop", created_at=now, updated_at=now))
    await asyncio.sleep(1.0)  # processes look for new budgets once a second
    assert (await ended(platform, (await start(platform, flow())).run_id)).status == "succeeded"
    row = await ended(platform, (await start(platform, flow())).run_id)
    assert row.error is not None
    assert (row.status, row.error["details"]["budget"]["scope"], server.calls) == ("failed", "user", 2)


async def test_a_model_without_a_price_is_not_asked_under_a_budget_in_dollars(server: OpenAIServer, platform: LocalPlatform) -> None:
    row = await ended(platform, (await start(platform, flow(agent={"model": "openai:nobody-knows-me"}, budget={"usd": 5}))).run_id)
    assert row.error is not None
    assert (row.error["code"], server.calls) == ("price_unknown", 0)


async def test_a_call_that_fails_gives_back_what_was_held_for_it(server: OpenAIServer, platform: LocalPlatform) -> None:
    server.say(Refuse(500), Refuse(500), Text("at last"))
    document = flow(budget={"calls": 1})
    document["steps"]["ask"]["retry"] = {"initial": "10ms"}
    run = await start(platform, document)
    assert (await ended(platform, run.run_id)).status == "succeeded"
    assert (server.calls, (await used(platform)).calls) == (3, 1)


async def test_an_answer_that_was_paid_for_and_not_used_counts(server: OpenAIServer, platform: LocalPlatform) -> None:
    server.say(Refusal(), Text("well"))
    run = await start(platform, flow(agent={"model": [MODEL, "openai:gpt-5-nano"]}))
    assert (await ended(platform, run.run_id)).status == "succeeded"
    rows = await platform.store.money.usage(UsageQuery("default", ("model",)))
    assert [(row.group["model"], row.calls) for row in rows] == [(MODEL, 1), ("openai:gpt-5-nano", 1)]


async def test_a_simulated_run_costs_nothing_and_is_in_no_ledger(server: OpenAIServer, platform: LocalPlatform) -> None:
    run = await start(platform, flow(items=5, budget={"calls": 1}), mode="simulated")
    assert (await ended(platform, run.run_id)).status == "succeeded"
    assert ((await used(platform)).calls, server.calls) == (0, 0)


async def test_a_crash_in_between_counts_calls_once(server: OpenAIServer, tmp_path: Path) -> None:
    """The platform ends in the middle of a map, with calls under way; the next one goes on within what is left."""
    gate = asyncio.Event()
    server.say(*[Text("fast")] * 6)
    server.default = lambda request: Slow(Text("late"), release=gate)
    settings = Settings(home=tmp_path, openai_base_url=server.url, openai_api_key="k", run_mode="live", drain_ms=0, lease_ms=400)
    await warm()
    async with LocalPlatform(settings) as platform:
        run = await start(platform, flow(items=20, budget={"calls": 20}))
        await server.asked(20)
        while (await used(platform)).calls < 6:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.01)
        await platform.host._close()  # as if it had died: it hands nothing over and writes nothing more
    gate.set()
    async with LocalPlatform(settings) as platform:
        row = await ended(platform, run.run_id)
        total = await used(platform)
        budget = await platform.store.money.budget_of("default", run.run_id)
        assert budget is not None
        assert (row.status, total.calls, budget.spent.calls, budget.held.calls) == ("succeeded", 20, 20, 0)
        assert await fsck(platform.store) == []


async def test_a_run_that_is_canceled_holds_nothing_any_more(server: OpenAIServer, platform: LocalPlatform) -> None:
    """Also not for a call whose process died: nobody will come to the seat of that call again."""
    gate = asyncio.Event()
    server.say(Slow(Text("late"), release=gate))
    run = await start(platform, flow(budget={"calls": 10}))
    await server.asked(1)
    payer = Payer("default", "talk", run.run_id, "key-1", {"calls": 10})
    answer = await platform.store.money.reserve(
        Wish(payer, run.run_id, "dead", "c", Amount(calls=1)), now=run.created_at, expires_at=run.created_at + EXPIRES_MS
    )
    assert answer.verdict == "granted"
    await platform.gateway.cancel("default", run.run_id)
    assert (await ended(platform, run.run_id)).status == "canceled"
    budget = await platform.store.money.budget_of("default", run.run_id)
    assert budget is not None
    assert (budget.held, budget.spent) == (NOTHING, NOTHING)
    assert await fsck(platform.store) == []
    gate.set()


async def test_a_budget_that_is_given_under_way_holds_for_the_runs_below(
    server: OpenAIServer, platform: LocalPlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They were started when there was none."""
    monkeypatch.setattr(cashier, "KNOWN_SECONDS", 0)
    gate = asyncio.Event()
    server.say(Slow(Text("first"), release=gate))
    child = flow(items=9)
    child["steps"]["ask"]["map"]["concurrency"] = 1
    await platform.gateway.publish("default", child)
    run = await start(platform, {"name": "boss", "steps": {"kid": {"workflow": {"name": "talk"}, "retry": {"max_attempts": 1}}}})
    await server.asked(1)
    await platform.gateway.pause("default", run.run_id)
    await until(platform, run.run_id, "paused")
    await platform.gateway.resume("default", run.run_id, budget={"calls": 3})
    await until(platform, run.run_id, "running", "waiting")
    gate.set()
    row = await ended(platform, run.run_id)
    assert row.error is not None
    short = row.error["details"]["error"]["details"]["budget"]
    assert (row.status, short["scope"], short["name"], server.calls) == ("failed", "run", run.run_id, 3)
    assert await fsck(platform.store) == []
