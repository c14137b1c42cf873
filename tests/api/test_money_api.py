"""Totals and budgets over HTTP."""

from decimal import Decimal
from typing import Any

import httpx2
import pytest

from runtime.api import answers, answers_money
from runtime.api.keys import READ, issue
from runtime.engine.events import Kind
from runtime.gateway import StartRequest
from runtime.store.money_protocol import LedgerRow
from runtime.store.protocol import Append, AppendOutcome, RunRow
from tests.api.world import AT, World

FLOW = {"name": "talk", "steps": {"ask": {"agent": {"model": "openai:gpt-5-mini", "prompt": "well"}}}, "budget": {"usd": 5, "on_exceeded": "ask"}}


async def spending(world: World, **changes: Any) -> RunRow:
    """A run that has made one model call."""
    await world.gateway.publish("default", FLOW)
    run = (await world.gateway.start("default", StartRequest("talk", user="key-1", budget={"calls": 9}))).run
    owner = await world.own(run.run_id)
    await owner.write((Kind.RUN_STARTED, None, None, None), (Kind.STEP_STARTED, "ask", 1, None))
    given = {"run_id": run.run_id, "root_run": run.run_id, "call": "c", "seq": owner.row.head + 1, "step": "ask", "iteration": None, "item": None}
    named = {"tenant": "default", "workflow": "talk", "user": "key-1", "provider": "openai", "model": "openai:gpt-5-mini", "answered": "gpt-5-mini"}
    tokens = {"input_tokens": 100, "cached_tokens": 0, "output_tokens": 10, "reasoning_tokens": 0}
    more = {"number": 1, "attempt": 1, "usd": Decimal("0.000045"), "prices": "genai-prices 1", "latency_ms": 5, "cached": False, "at": AT}
    row = LedgerRow(**{**given, **named, **tokens, **more, **changes})
    event = (Kind.CALL_FINISHED, "ask", None, {"name": "model", "n": 1, "result": {}})
    append = Append(run.run_id, owner.row.epoch, owner.row.head, (_event(owner, event),), owner.status, started_at=AT, ledger=(row,))
    assert await world.store.journal.append(append) is AppendOutcome.COMMITTED
    return run


def _event(owner: Any, fact: Any) -> Any:
    from runtime.engine.events import Event

    kind, step, attempt, body = fact
    return Event(owner.row.head + 1, owner.row.epoch, kind, AT, step, attempt, body)


async def test_a_run_and_its_steps_show_what_they_used(world: World, client: httpx2.AsyncClient) -> None:
    run = await spending(world)
    shown = (await client.get(f"/v1/runs/{run.run_id}")).json()
    answers.RunDetail.model_validate(shown)
    assert (shown["usage"]["calls"], shown["usage"]["usd"]) == (1, "0.000045")
    assert (shown["budget"]["usd"], shown["budget"]["calls"], shown["budget"]["on_exceeded"], shown["budget"]["exceeded"]) == ("5", 9, "ask", None)
    steps = (await client.get(f"/v1/runs/{run.run_id}/steps")).json()["steps"]
    step = (await client.get(f"/v1/runs/{run.run_id}/steps/ask")).json()
    assert steps[0]["usage"] == step["usage"] == shown["usage"]
    answers.Step.model_validate(step)


async def test_a_run_without_agents_has_used_nothing(world: World, client: httpx2.AsyncClient) -> None:
    run = await world.run()
    shown = (await client.get(f"/v1/runs/{run.run_id}")).json()
    assert (shown["usage"]["calls"], shown["usage"]["usd"], shown["budget"]) == (0, "0", None)


async def test_the_user_is_the_key_and_the_budget_of_the_start_counts(world: World, client: httpx2.AsyncClient) -> None:
    await world.gateway.publish("default", FLOW)
    body = {"budget": {"usd": 2.5, "duration": "1h", "on_exceeded": "stop"}}
    started = (await client.post("/v1/workflows/talk/runs", json=body)).json()
    answers.RunDetail.model_validate(started)
    assert (started["budget"]["usd"], started["budget"]["duration"], started["budget"]["on_exceeded"]) == ("2.5", 3_600_000, "stop")
    (created,) = await world.store.journal.events(started["run_id"])
    keys = (await client.get("/v1/keys")).json()["keys"]
    assert created.body is not None
    assert (created.body["user"], created.body["budget"]) == (keys[0]["key_id"], {"usd": "2.5", "duration": 3_600_000, "on_exceeded": "stop"})


@pytest.mark.parametrize("budget", [{"usd": 0}, {"usd": "5"}, {"calls": -1}, {"calls": 1.5}, {"duration": "soon"}, {"on_exceeded": "wait"}, {"dollars": 5}])
async def test_a_budget_that_makes_no_sense_is_refused(world: World, client: httpx2.AsyncClient, budget: Any) -> None:
    await world.gateway.publish("default", FLOW)
    assert (await client.post("/v1/workflows/talk/runs", json={"budget": budget})).status_code == 422
    run = await world.run()
    assert (await client.post(f"/v1/runs/{run.run_id}:resume", json={"budget": budget})).status_code == 422


async def test_a_budget_is_given_with_resume(world: World, client: httpx2.AsyncClient) -> None:
    run = await world.run()
    assert (await client.post(f"/v1/runs/{run.run_id}:resume", json={"budget": {"usd": 10, "duration": "2h"}})).status_code == 202
    await world.own(run.run_id)
    (message,) = await world.store.journal.inbox(f"owner-of-{run.run_id}")
    assert message.body == {"budget": {"usd": "10", "duration": 7_200_000}, "by": "tester"}


async def test_totals_by_group(world: World, client: httpx2.AsyncClient) -> None:
    run = await spending(world)
    for groups in ([], ["day"], ["workflow", "step"], ["run", "user", "model"]):
        report = (await client.get("/v1/usage", params={"group_by": groups})).json()
        answers_money.UsageReport.model_validate(report)
        assert [(row["calls"], row["usd"]) for row in report["usage"]] == [(1, "0.000045")]
        assert set(groups) <= set(report["usage"][0])
    narrow = {"workflow": "talk", "user": "key-1", "model": "openai:gpt-5-mini", "run": run.run_id, "from": "2000-01-01", "to": "2100-01-01"}
    assert (await client.get("/v1/usage", params=narrow)).json()["usage"][0]["calls"] == 1
    assert (await client.get("/v1/usage", params={"to": "2000-01-01"})).json()["usage"][0]["calls"] == 0


async def test_totals_come_in_pages(world: World, client: httpx2.AsyncClient) -> None:
    for model in ("a", "b", "c"):
        await spending(world, model=model)
    seen, token = [], None
    while True:
        page = (await client.get("/v1/usage", params={"group_by": "model", "page_size": 2, **({"page_token": token} if token else {})})).json()
        seen += [row["model"] for row in page["usage"]]
        if (token := page["next_page_token"]) is None:
            break
    assert seen == ["a", "b", "c"]


@pytest.mark.parametrize("query", [{"group_by": "color"}, {"from": "yesterday"}, {"run": "x"}, {"page_token": "%%"}])
async def test_bad_questions_are_refused(client: httpx2.AsyncClient, query: dict[str, str]) -> None:
    assert (await client.get("/v1/usage", params=query)).status_code == 422


async def test_budgets_are_set_shown_and_removed(world: World, client: httpx2.AsyncClient) -> None:
    await spending(world)
    put = await client.put("/v1/budgets/user/key-1/month", json={"usd": 100, "calls": 7, "on_exceeded": "ask"})
    assert put.status_code == 200
    answers_money.Budget.model_validate(put.json())
    await client.put("/v1/budgets/tenant/-/day", json={"tokens": 1000})
    listed = (await client.get("/v1/budgets")).json()
    answers_money.Budgets.model_validate(listed)
    assert [(row["scope"], row["name"], row["period"], row["usd"], row["tokens"]) for row in listed["budgets"]] == [
        ("tenant", "-", "day", None, 1000),
        ("user", "key-1", "month", "100", None),
    ]
    assert (await client.delete("/v1/budgets/tenant/-/day")).status_code == 204
    assert (await client.delete("/v1/budgets/tenant/-/day")).status_code == 404


@pytest.mark.parametrize(
    ("path", "body"),
    [("user/u/month", {}), ("tenant/acme/month", {"calls": 1}), ("user/-/month", {"calls": 1}), ("run/r/month", {"calls": 1}), ("user/u/week", {"calls": 1})],
)
async def test_budgets_that_make_no_sense_are_refused(client: httpx2.AsyncClient, path: str, body: dict[str, Any]) -> None:
    assert (await client.put(f"/v1/budgets/{path}", json=body)).status_code == 422


async def test_only_an_admin_sets_budgets_and_tenants_do_not_see_each_other(world: World, client: httpx2.AsyncClient) -> None:
    await client.put("/v1/budgets/workflow/talk/day", json={"calls": 5})
    await spending(world)
    now = world.gateway.clock.now()
    reader, _ = await issue(world.store.catalog, "default", name="reader", scopes=(READ,), now=now)
    stranger, _ = await issue(world.store.catalog, "other", name="stranger", scopes=(READ,), now=now)
    for verb, options in (("PUT", {"json": {"calls": 1}}), ("DELETE", {})):
        answer = await client.request(verb, "/v1/budgets/workflow/talk/day", headers={"Authorization": f"Bearer {reader.text}"}, **options)
        assert answer.status_code == 403
    theirs = {"Authorization": f"Bearer {stranger.text}"}
    assert (await client.get("/v1/budgets", headers=theirs)).json() == {"budgets": []}
    assert (await client.get("/v1/usage", headers=theirs)).json()["usage"][0]["calls"] == 0
