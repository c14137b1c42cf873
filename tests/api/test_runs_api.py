"""Looking at runs over HTTP."""

import uuid

import httpx2
import pytest

from runtime.engine.events import Kind
from runtime.store.protocol import RunQuery
from tests.api.world import World


async def test_lists_filter_and_go_on(client: httpx2.AsyncClient, world: World) -> None:
    runs = [await world.run() for _ in range(5)]
    await (await world.own(runs[0].run_id)).begin()
    ids = [run.run_id for run in reversed(runs)]
    found, token = [], None
    for _ in range(3):
        page = (await client.get("/v1/runs", params={"page_size": 2} | ({"page_token": token} if token else {}))).json()
        found += [run["run_id"] for run in page["runs"]]
        token = page["next_page_token"]
    assert found == ids
    assert token is None

    async def listed(**params: object) -> list[str]:
        answer = await client.get("/v1/runs", params=params)
        assert answer.status_code == 200
        return [run["run_id"] for run in answer.json()["runs"]]

    assert await listed(status="running") == [runs[0].run_id]
    assert await listed(status=["running", "queued"]) == ids
    assert await listed(workflow="demo", label="team=blue") == ids
    assert await listed(label="team=red") == []
    assert await listed(workflow="other") == []
    assert await listed(parent=str(uuid.uuid4())) == []
    assert await listed(created_after="2020-01-01T00:00:00Z") == ids
    assert await listed(created_before="2020-01-01T00:00:00Z") == []


@pytest.mark.parametrize(
    "query",
    [
        "status=done",
        "page_size=0",
        "page_size=1001",
        "page_size=x",
        "page_token=x",
        "label=x",
        "label=%00=1",
        "workflow=%00",
        "workflow=A",
        "parent=1",
        "created_after=now",
        "status=%ff",
        "page_token=%f0%9f%92%a9",
    ],
)
async def test_bad_filters(client: httpx2.AsyncClient, query: str) -> None:
    answer = await client.get(f"/v1/runs?{query}")
    assert (answer.status_code, answer.json()["code"]) == (422, "request_invalid")
    assert answer.json()["errors"][0]["pointer"].startswith("/query/")


@pytest.mark.parametrize("run_id", ["x", "%00", "01890a5d-ac96-774b-bcce-b302099a8057", "01890A5D-AC96-774B-BCCE-B302099A8057", "' or 1=1 --"])
async def test_unknown_runs(client: httpx2.AsyncClient, run_id: str) -> None:
    for path in ("", "/steps", "/steps/x", "/steps/x/items", "/events", "/artifacts", "/artifacts/x", "/values/x"):
        assert (await client.get(f"/v1/runs/{run_id}{path}")).status_code == 404
    for verb in ("cancel", "pause", "resume", "retry", "fork"):
        assert (await client.post(f"/v1/runs/{run_id}:{verb}")).status_code == 404


async def test_a_run_shows_its_end(client: httpx2.AsyncClient, world: World) -> None:
    run = await world.run()
    owner = await world.own(run.run_id)
    await owner.begin()
    shown = (await client.get(f"/v1/runs/{run.run_id}")).json()
    assert (shown["status"], shown["head"], shown["output"], shown["ended_at"]) == ("running", 4, None, None)
    await owner.fail()
    shown = (await client.get(f"/v1/runs/{run.run_id}")).json()
    assert (shown["status"], shown["error"]["code"]) == ("failed", "boom")
    assert shown["ended_at"].endswith("Z")


async def test_steps_and_progress(client: httpx2.AsyncClient, world: World) -> None:
    run = await world.run()
    await (await world.own(run.run_id)).begin()
    body = (await client.get(f"/v1/runs/{run.run_id}/steps")).json()
    shown = {step["step"]: step for step in body["steps"]}
    assert set(shown) == {"first", "each", "ask", "ping", "last"}
    assert (shown["first"]["status"], shown["first"]["kind"], shown["first"]["output"]) == ("succeeded", "set", {"text": "whales"})
    assert body["progress"]["pending"] == 4
    assert body["progress"]["succeeded"] == 1
    assert (await client.get(f"/v1/runs/{run.run_id}/steps/first")).json() == shown["first"]
    assert (await client.get(f"/v1/runs/{run.run_id}/steps/nothing")).status_code == 404
    assert (await client.get(f"/v1/runs/{run.run_id}/steps/first/items")).json() == {"items": [], "next_page_token": None}


async def test_items_come_in_pages_and_by_state(client: httpx2.AsyncClient, world: World) -> None:
    total = 10_000
    run = await world.run(sources=["s"] * total)
    owner = await world.own(run.run_id)
    await owner.begin()
    error = {"code": "boom", "message": "no"}
    await owner.write(
        (Kind.STEP_STARTED, "each", 1, {"total": total}),
        (Kind.ITEMS_STARTED, "each", None, {"items": [[0, 9_000]], "attempt": 1}),
        (
            Kind.ITEMS_FINISHED,
            "each",
            None,
            {"done": [[n, n * n] for n in range(8_000)], "failed": [[8_000, 1, error]], "retrying": [[8_001, 1, error, 5_000]]},
        ),
    )
    path = f"/v1/runs/{run.run_id}/steps/each"
    counts = (await client.get(path)).json()["items"]
    assert counts == {"total": total, "succeeded": 8_000, "failed": 1, "running": 999, "waiting": 0, "retrying": 1, "pending": 999, "canceled": 0}
    page = (await client.get(f"{path}/items", params={"page_size": 1000})).json()
    assert [(item["index"], item["output"], item["status"]) for item in page["items"]] == [(n, n * n, "succeeded") for n in range(1000)]
    page = (await client.get(f"{path}/items", params={"page_token": page["next_page_token"], "page_size": 2})).json()
    assert [item["index"] for item in page["items"]] == [1000, 1001]
    states = {}
    for status in ("failed", "retrying", "running", "pending", "canceled"):
        found = (await client.get(f"{path}/items", params={"status": status, "page_size": 1000})).json()["items"]
        assert {item["status"] for item in found} <= {status}
        states[status] = len(found)
    assert states == {"failed": 1, "retrying": 1, "running": 999, "pending": 999, "canceled": 0}
    (failed,) = (await client.get(f"{path}/items", params={"status": "failed"})).json()["items"]
    assert (failed["index"], failed["error"], failed["attempt"]) == (8_000, error, 1)
    # What was read once is folded on, not anew.
    await owner.write((Kind.ITEMS_FINISHED, "each", None, {"done": [[8_500, "new"]]}))
    page = (await client.get(f"{path}/items", params={"status": "running", "page_size": 1000})).json()
    assert 8_500 not in [item["index"] for item in page["items"]]
    await owner.write((Kind.STEP_FAILED, "each", None, {"error": error}))
    assert (await client.get(path)).json()["items"]["canceled"] == total - 8_002


async def test_what_belongs_to_another_tenant_does_not_exist(client: httpx2.AsyncClient, world: World) -> None:
    theirs = await world.run(tenant="acme")
    await world.own(theirs.run_id)
    for path in ("", "/steps", "/steps/first", "/steps/each/items", "/events", "/artifacts"):
        assert (await client.get(f"/v1/runs/{theirs.run_id}{path}")).status_code == 404
    stream = await client.get(f"/v1/runs/{theirs.run_id}/events", headers={"accept": "text/event-stream"})
    assert stream.status_code == 404
    for verb in ("cancel", "pause", "resume", "retry", "fork", "signals/ping", "decisions", "events:ticket"):
        body = {"step": "each", "action": "retry"} if verb == "decisions" else {}
        separator = "/" if verb[0] in "sde" else ":"
        assert (await client.post(f"/v1/runs/{theirs.run_id}{separator}{verb}", json=body)).status_code == 404, verb
    assert (await client.get("/v1/runs")).json()["runs"] == []
    assert (await client.get("/v1/workflows")).json()["workflows"] == []
    assert (await client.post("/v1/workflows/demo/runs", json={"inputs": {"topic": "x"}, "version": theirs.definition})).status_code == 404
    assert await world.gateway.runs("default", RunQuery(tenant="acme")) == []
    assert (await world.gateway.run("acme", theirs.run_id)).run_id == theirs.run_id
