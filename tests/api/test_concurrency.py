"""Limits of concurrency over HTTP: refused, queued, shown, listed; and what every refusal owes the client."""

import httpx2
import pytest

from runtime.errors import Overloaded, StoreUnavailable
from runtime.store.fsck import fsck
from tests.api.world import World

FLOW = {"name": "narrow", "inputs": {"who": {"type": "string", "default": "x"}}, "steps": {"x": {"wait": {"for": "1h"}}}}


async def publish(client: httpx2.AsyncClient, **limits: object) -> None:
    assert (await client.put("/v1/workflows/narrow", json={**FLOW, "concurrency": limits})).status_code in (200, 201)


async def start(client: httpx2.AsyncClient, who: str = "x", **headers: str) -> httpx2.Response:
    return await client.post("/v1/workflows/narrow/runs", json={"inputs": {"who": who}}, headers=headers)


async def test_a_run_shows_its_slot_and_its_place(client: httpx2.AsyncClient, world: World):
    await publish(client, limit=1, key="inputs.who")
    first, second, third = [(await start(client, "bees")).json() for _ in range(3)]
    shown = {"key": "bees", "limit": 1, "per_key": None}
    assert first["concurrency"] == {**shown, "holding": True, "position": None}
    assert third["concurrency"] == {**shown, "holding": False, "position": 2}
    assert (third["status"], third["waiting_for"], third["wake_at"]) == ("queued", "slot", None)
    assert world.gateway.runner.nudged == [first["run_id"]], "there is nothing to claim of the others"
    listed = (await client.get("/v1/runs", params={"waiting_for": "slot"})).json()["runs"]
    assert [run["run_id"] for run in listed] == [third["run_id"], second["run_id"]]
    assert listed[0]["concurrency"] == {**shown, "holding": False}
    assert (await client.get("/v1/runs", params={"waiting_for": "nonsense"})).status_code == 422
    await client.post(f"/v1/runs/{first['run_id']}:cancel")
    assert world.gateway.runner.nudged[1:] == [second["run_id"], first["run_id"]], "the next one is told of at once"
    assert (await client.get(f"/v1/runs/{first['run_id']}")).json()["concurrency"]["holding"] is False
    assert (await client.get(f"/v1/runs/{third['run_id']}")).json()["concurrency"]["position"] == 1


async def test_a_run_without_limits_says_so(client: httpx2.AsyncClient, world: World):
    run = await world.run()
    assert (await client.get(f"/v1/runs/{run.run_id}")).json()["concurrency"] is None


async def test_reject_is_429_with_a_time_to_come_back_and_changes_nothing(client: httpx2.AsyncClient, world: World):
    await publish(client, limit=1, on_limit="reject")
    assert (await start(client)).status_code == 202
    for _ in range(2):
        answer = await start(client, **{"Idempotency-Key": "k"})
        assert (answer.status_code, answer.json()["code"], answer.headers["retry-after"]) == (429, "concurrency_limit", "5")
    batch = await client.post("/v1/workflows/narrow/runs:batch", json={"runs": [{}, {}]})
    assert (batch.status_code, batch.json()["code"]) == (429, "concurrency_limit")
    (run,) = (await client.get("/v1/runs")).json()["runs"]
    await client.post(f"/v1/runs/{run['run_id']}:cancel")
    assert (await start(client, **{"Idempotency-Key": "k"})).status_code == 202
    assert await fsck(world.store) == []


async def test_cancel_new_is_accepted_and_over(client: httpx2.AsyncClient):
    await publish(client, limit=1, on_limit="cancel_new")
    await start(client)
    answer = await start(client, Prefer="wait=5")
    assert (answer.status_code, answer.json()["status"]) == (200, "canceled")
    answer = await start(client)
    assert (answer.status_code, answer.json()["status"]) == (202, "canceled")


async def test_a_key_that_is_none_is_a_problem_of_the_inputs(client: httpx2.AsyncClient):
    await publish(client, limit=1, key="inputs.who")
    answer = await start(client, "x" * 300)
    assert (answer.status_code, answer.json()["code"], answer.json()["errors"][0]["pointer"]) == (422, "input_invalid", "/inputs")


async def test_retry_and_fork_wait_for_slots_too(client: httpx2.AsyncClient):
    await publish(client, limit=1, key="inputs.who")
    run = (await start(client, "bees")).json()
    await client.post(f"/v1/runs/{run['run_id']}:cancel")
    retried = (await client.post(f"/v1/runs/{run['run_id']}:retry")).json()
    forked = (await client.post(f"/v1/runs/{run['run_id']}:fork", json={"inputs": {"who": "wasps"}})).json()
    assert (retried["concurrency"]["holding"], retried["concurrency"]["key"]) == (True, "bees")
    assert (forked["concurrency"]["holding"], forked["concurrency"]["key"], forked["waiting_for"]) == (False, "wasps", "slot")


@pytest.mark.parametrize(
    ("failure", "status", "seconds"),
    [
        (Overloaded("too many writes wait for the database", retry_after=1), 429, "1"),
        (StoreUnavailable("the database does not answer", retry_after=1), 503, "1"),
    ],
)
async def test_every_refusal_says_when_to_come_back_and_changes_nothing(
    client: httpx2.AsyncClient, world: World, monkeypatch: pytest.MonkeyPatch, failure: Exception, status: int, seconds: str
):
    run = await world.run()

    async def refuse(_operation: object) -> None:
        raise failure

    before = await world.store.journal.run(run.run_id)
    monkeypatch.setattr(world.store.writer, "write", refuse)
    for path, body in (
        ("/v1/workflows/demo/runs", {"inputs": {"topic": "x"}}),
        ("/v1/workflows/demo/runs:batch", {"runs": [{"inputs": {"topic": "x"}}]}),
        (f"/v1/runs/{run.run_id}:cancel", {}),
        (f"/v1/runs/{run.run_id}/signals/ping", {"payload": {"count": 1}}),
    ):
        answer = await client.post(path, json=body)
        assert (answer.status_code, answer.headers["retry-after"]) == (status, seconds), path
    assert await world.store.journal.run(run.run_id) == before
    assert await world.store.journal.active_runs() == 1


async def test_a_full_queue_refuses_batches_and_forks_and_leaves_keys_free(client: httpx2.AsyncClient, world: World):
    run = await world.run()
    settings = world.gateway.settings
    world.gateway.settings = settings.model_copy(update={"max_queued_runs": 1})
    world.gateway._active = (-1.0, 0)
    headers = {"Idempotency-Key": "k"}
    body = {"inputs": {"topic": "x"}}
    for path, sent in (("/v1/workflows/demo/runs", body), ("/v1/workflows/demo/runs:batch", {"runs": [body]}), (f"/v1/runs/{run.run_id}:fork", {})):
        answer = await client.post(path, json=sent, headers=headers)
        assert (answer.status_code, answer.json()["code"], answer.headers["retry-after"]) == (429, "overloaded", "5"), path
    assert await world.store.journal.active_runs() == 1
    world.gateway.settings, world.gateway._active = settings, (-1.0, 0)
    assert (await client.post("/v1/workflows/demo/runs", json=body, headers=headers)).status_code == 202
