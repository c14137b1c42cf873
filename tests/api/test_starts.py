"""Starting runs over HTTP: what is checked, what is promised, what is repeated."""

import asyncio

import httpx2
import pytest

from runtime.engine.events import Kind
from runtime.errors import Overloaded
from runtime.gateway import StartRequest
from tests.api.world import DOCUMENT, World

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture(autouse=True)
async def published(client: httpx2.AsyncClient) -> None:
    await client.put("/v1/workflows/demo", json=DOCUMENT)


async def start(client: httpx2.AsyncClient, body: dict | None = None, **headers: str) -> httpx2.Response:
    return await client.post("/v1/workflows/demo/runs", json={"inputs": {"topic": "whales"}} | (body or {}), headers=headers)


async def test_a_run_is_accepted_and_on_disk(client: httpx2.AsyncClient, world: World) -> None:
    answer = await start(client, {"labels": {"who": "me"}, "priority": 3, "mode": "live"}, traceparent=TRACE)
    assert answer.status_code == 202
    run = answer.json()
    assert answer.headers["location"] == f"/v1/runs/{run['run_id']}"
    assert answer.headers["traceparent"] == TRACE
    assert (run["status"], run["priority"], run["mode"], run["labels"]) == ("queued", 3, "live", {"team": "blue", "who": "me"})
    assert run["inputs"] == {"topic": "whales", "sources": ["a", "b", "c"]}
    assert (await client.get(answer.headers["location"])).json() == run
    (created,) = await world.store.journal.events(run["run_id"])
    assert created.kind is Kind.RUN_CREATED
    assert created.body["traceparent"] == TRACE
    assert 0 <= created.body["seed"] < 2**63
    assert world.gateway.runner.nudged == [run["run_id"]]


async def test_every_run_has_a_trace(client: httpx2.AsyncClient) -> None:
    first, second = await start(client), await start(client, traceparent="rubbish")
    assert len({first.headers["traceparent"], second.headers["traceparent"], "rubbish"}) == 3


async def test_the_same_key_gives_the_same_run(client: httpx2.AsyncClient, world: World) -> None:
    headers = {"Idempotency-Key": "k1"}
    first = await start(client, **headers)
    again = await start(client, **headers)
    quoted = await start(client, **{"Idempotency-Key": '"k1"'})
    assert first.json() == again.json() == quoted.json()
    assert (again.status_code, again.headers["location"]) == (202, first.headers["location"])
    assert world.gateway.runner.nudged == [first.json()["run_id"]]
    other = await start(client, {"priority": 1}, **headers)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_mismatch")
    assert len((await client.get("/v1/runs")).json()["runs"]) == 1


async def test_the_order_of_keys_is_not_another_payload(client: httpx2.AsyncClient) -> None:
    first = await client.post(
        "/v1/workflows/demo/runs", content=b'{"inputs":{"topic":"x","sources":[]}}', headers={"content-type": "application/json", "idempotency-key": "k"}
    )
    again = await client.post(
        "/v1/workflows/demo/runs", content=b'{"inputs":{"sources":[],"topic":"x"}}', headers={"content-type": "application/json", "idempotency-key": "k"}
    )
    assert first.json()["run_id"] == again.json()["run_id"]


async def test_fifty_clients_with_one_key_make_one_run(client: httpx2.AsyncClient) -> None:
    answers = await asyncio.gather(*(start(client, **{"Idempotency-Key": "race"}) for _ in range(50)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["run_id"] for answer in answers}) == 1


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"inputs": {}}, "/inputs"),
        ({"inputs": {"topic": 7}}, "/inputs/topic"),
        ({"inputs": {"topic": "x", "topc": 1}}, "/inputs/topc"),
        ({"inputs": {"topic": "x"}, "tenant": "other"}, "/tenant"),
        ({"inputs": {"topic": "x"}, "definition": {}}, "/definition"),
        ({"inputs": {"topic": "x"}, "labels": {"a": 1}}, "/labels/a"),
        ({"inputs": {"topic": "x"}, "priority": 1.5}, "/priority"),
        ({"inputs": {"topic": "x"}, "priority": True}, "/priority"),
        ({"inputs": {"topic": "x"}, "mode": "dry"}, "/mode"),
        ({"inputs": {"topic": "x"}, "version": "latest"}, "/version"),
        ({"inputs": []}, "/inputs"),
        ({"inputs": {"topic": "x", "sources": [{"$artifact": {"sha256": "0" * 64, "size": 1}}]}}, "/inputs/sources/0"),
    ],
)
async def test_bad_bodies_are_pointed_at(client: httpx2.AsyncClient, body: dict, pointer: str) -> None:
    answer = await client.post("/v1/workflows/demo/runs", json=body)
    assert answer.status_code == 422
    assert any(each["pointer"].startswith(pointer) for each in answer.json()["errors"])
    assert (await client.get("/v1/runs")).json()["runs"] == []


async def test_nobody_writes_a_reference_by_hand(client: httpx2.AsyncClient) -> None:
    free = {**DOCUMENT, "name": "free", "inputs": {"x": {}}, "steps": {"one": {"set": {"a": 1}}}}
    await client.put("/v1/workflows/free", json=free)
    forged = {"$artifact": {"sha256": "0" * 64, "size": 1}}
    for value, pointer in ((forged, "/inputs/x"), ([{"a/b": forged}], "/inputs/x/0/a~1b")):
        answer = await client.post("/v1/workflows/free/runs", json={"inputs": {"x": value}})
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, pointer)
    assert (await client.post("/v1/workflows/free/runs", json={"inputs": {"x": "$artifact"}})).status_code == 202


async def test_a_version_may_be_named(client: httpx2.AsyncClient) -> None:
    old = (await client.get("/v1/workflows/demo")).json()["version"]
    await client.put("/v1/workflows/demo", json={**DOCUMENT, "description": "newer"})
    assert (await start(client, {"version": old})).json()["version"] == old
    assert (await start(client)).json()["version"] != old
    assert (await start(client, {"version": "0" * 64})).status_code == 404
    await client.put("/v1/workflows/other", json={**DOCUMENT, "name": "other"})
    assert (await client.post("/v1/workflows/other/runs", json={"inputs": {"topic": "x"}, "version": old})).status_code == 404


async def test_large_inputs_live_outside_the_journal(client: httpx2.AsyncClient, world: World) -> None:
    topic = "x" * 100_000
    run = (await start(client, {"inputs": {"topic": topic}})).json()
    assert run["inputs"]["topic"] == topic
    (created,) = await world.store.journal.events(run["run_id"])
    assert set(created.body["inputs"]) == {"$artifact"}
    assert (await client.get(f"/v1/runs/{run['run_id']}")).json()["inputs"]["topic"] == topic
    digest = created.body["inputs"]["$artifact"]["sha256"]
    value = await client.get(f"/v1/runs/{run['run_id']}/values/{digest}")
    assert (value.status_code, value.json()["topic"]) == (200, topic)
    other = (await start(client)).json()
    assert (await client.get(f"/v1/runs/{other['run_id']}/values/{digest}")).status_code == 404


async def test_inputs_over_the_limit(client: httpx2.AsyncClient, world: World) -> None:
    limit = world.gateway.settings.max_input_bytes
    sources = ["x" * 1_000_000] * (limit // 1_000_000 + 1)
    assert (await start(client, {"inputs": {"topic": "x", "sources": sources}})).status_code == 413
    answer = await client.post("/v1/workflows/demo/runs", content=b"x", headers={"content-type": "application/json", "content-length": "200000000"})
    assert answer.status_code == 413


async def test_waiting_for_the_end(client: httpx2.AsyncClient, world: World) -> None:
    waiting = asyncio.create_task(start(client, **{"Prefer": "wait=30", "Idempotency-Key": "w"}))
    (run,) = await world.runs(1)
    owner = await world.own(run.run_id)
    await owner.begin()
    await owner.finish({"answer": 42})
    answer = await waiting
    assert (answer.status_code, answer.json()["status"], answer.json()["output"]) == (200, "succeeded", {"answer": 42})
    assert answer.headers["preference-applied"] == "wait=30"
    again = await start(client, **{"Idempotency-Key": "w", "Prefer": "wait=30"})
    assert (again.status_code, again.json()) == (200, answer.json())


async def test_waiting_has_an_end(client: httpx2.AsyncClient) -> None:
    answer = await start(client, Prefer="wait=1")
    assert (answer.status_code, answer.json()["status"]) == (202, "queued")


async def test_batches_are_all_or_none(client: httpx2.AsyncClient) -> None:
    path = "/v1/workflows/demo/runs:batch"
    bad = await client.post(path, json={"runs": [{"inputs": {"topic": "a"}}, {"inputs": {"topic": 1}}, {"inputs": {}}]})
    assert bad.status_code == 422
    assert {each["pointer"].split("/inputs")[0] for each in bad.json()["errors"]} == {"/runs/1", "/runs/2"}
    assert (await client.get("/v1/runs")).json()["runs"] == []
    body = {"runs": [{"inputs": {"topic": str(n)}, "labels": {"n": str(n)}} for n in range(1000)]}
    made = await client.post(path, json=body, headers={"Idempotency-Key": "batch"})
    assert made.status_code == 202
    runs = made.json()["runs"]
    assert [run["labels"]["n"] for run in runs] == [str(n) for n in range(1000)]
    assert all(run["created"] for run in runs)
    again = (await client.post(path, json=body, headers={"Idempotency-Key": "batch"})).json()["runs"]
    assert [run["run_id"] for run in again] == [run["run_id"] for run in runs]
    assert not any(run["created"] for run in again)
    for count in (0, 1001):
        assert (await client.post(path, json={"runs": [{"inputs": {"topic": "a"}}] * count})).status_code == 422


async def test_a_full_queue_says_when_to_come_back(client: httpx2.AsyncClient, world: World) -> None:
    await world.run()
    world.gateway.settings = world.gateway.settings.model_copy(update={"max_queued_runs": 1})
    world.gateway._active = (-1.0, 0)
    answer = await start(client)
    assert (answer.status_code, answer.json()["code"], answer.headers["retry-after"]) == (429, "overloaded", "5")
    with pytest.raises(Overloaded):
        await world.gateway.start("default", StartRequest("demo", {"topic": "x"}))
