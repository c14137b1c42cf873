"""Schedules over HTTP."""

import httpx2
import pytest

from runtime.api.keys import READ, issue
from tests.api.world import FLOW, World

BODY = {"workflow": "demo", "cron": ["0 9 * * MON-FRI"], "timezone": "Europe/Berlin", "inputs": {"topic": "whales"}}
URL = "/v1/schedules/every-morning"


@pytest.fixture
async def made(client: httpx2.AsyncClient, world: World) -> httpx2.Response:
    await world.gateway.publish("default", FLOW)
    response = await client.post("/v1/schedules", json={"name": "every-morning", **BODY})
    assert response.status_code == 201, response.text
    return response


async def test_create_read_list_and_delete(client: httpx2.AsyncClient, made: httpx2.Response) -> None:
    body = made.json()
    assert made.headers["location"] == URL
    assert made.headers["etag"] == f'"{body["etag"]}"'
    assert (body["explained"], body["overlap"], body["catchup"]) == (["At 09:00 on Monday through Friday"], "skip", "10m")
    assert (body["paused"], body["running"], body["waiting"]) == (False, [], 0)
    assert (await client.get(URL)).json() == body
    listed = (await client.get("/v1/schedules")).json()
    assert listed["schedules"] == [{name: value for name, value in body.items() if name not in ("running", "waiting")}]
    again = await client.post("/v1/schedules", json={"name": "every-morning", **BODY})
    assert (again.status_code, again.json()["code"]) == (409, "conflict")
    assert (await client.delete(URL)).status_code == 204
    assert (await client.get(URL)).status_code == 404
    assert (await client.delete(URL)).status_code == 404


async def test_put_with_if_match(client: httpx2.AsyncClient, made: httpx2.Response) -> None:
    changed = await client.put(URL, json={**BODY, "priority": 5}, headers={"if-match": made.headers["etag"]})
    assert (changed.status_code, changed.json()["priority"]) == (200, 5)
    stale = await client.put(URL, json=BODY, headers={"if-match": made.headers["etag"]})
    assert (stale.status_code, stale.json()["code"]) == (412, "version_changed")
    assert (await client.delete(URL, headers={"if-match": made.headers["etag"]})).status_code == 412
    assert (await client.put(URL, json=BODY)).json()["etag"] == made.json()["etag"]


async def test_all_problems_come_with_pointers(client: httpx2.AsyncClient, made: httpx2.Response) -> None:
    wrong = {"name": "other", "workflow": "demo", "cron": ["61 * * * *"], "timezone": "Europe/Berln", "overlap": "skipp", "colour": "red"}
    response = await client.put(URL, json=wrong)
    assert (response.status_code, response.json()["code"]) == (422, "request_invalid")
    found = {error["pointer"]: error["detail"] for error in response.json()["errors"]}
    assert set(found) == {"/name", "/cron/0", "/timezone", "/overlap", "/colour"}
    assert "did you mean 'Europe/Berlin'?" in found["/timezone"]
    assert "did you mean 'skip'?" in found["/overlap"]
    inputs = await client.put(URL, json={**BODY, "inputs": {"topik": "x"}})
    assert {error["pointer"] for error in inputs.json()["errors"]} == {"/inputs/topik", "/inputs/topic"}
    reserved = await client.put(URL, content=b"[1]", headers={"content-type": "application/json"})
    assert reserved.json()["errors"] == [{"pointer": "", "detail": "a schedule is an object"}]


async def test_pause_and_resume(client: httpx2.AsyncClient, made: httpx2.Response) -> None:
    paused = (await client.post(f"{URL}:pause", json={"note": "holidays"})).json()
    assert (paused["paused"], paused["note"], paused["next_tick"]) == (True, "holidays", None)
    resumed = (await client.post(f"{URL}:resume")).json()
    assert (resumed["paused"], resumed["note"], resumed["next_tick"]) == (False, None, made.json()["next_tick"])
    assert (await client.post("/v1/schedules/nothing:pause")).status_code == 404


async def test_trigger_honours_the_idempotency_key(client: httpx2.AsyncClient, made: httpx2.Response) -> None:
    first = await client.post(f"{URL}:trigger", headers={"idempotency-key": "k"})
    again = await client.post(f"{URL}:trigger", headers={"idempotency-key": "k"})
    assert (first.status_code, again.status_code) == (202, 202)
    run = first.json()
    assert again.json()["run_id"] == run["run_id"]
    assert run["schedule"] == {"schedule_id": made.json()["schedule_id"], "tick": None}
    assert run["inputs"]["topic"] == "whales"
    assert (await client.get(URL)).json()["running"] == [run["run_id"]]
    assert [each["run_id"] for each in (await client.get("/v1/runs", params={"schedule": "every-morning"})).json()["runs"]] == [run["run_id"]]
    assert (await client.get("/v1/runs", params={"schedule": "nothing"})).status_code == 404


async def test_backfill_and_the_record_of_ticks(client: httpx2.AsyncClient, made: httpx2.Response) -> None:
    week = {"from": "2026-01-05T00:00:00+01:00", "to": "2026-01-09T23:00:00+01:00"}
    asked = await client.post(f"{URL}:backfill", json=week)
    assert asked.status_code == 202
    ticks = asked.json()["ticks"]
    assert [tick["tick"] for tick in ticks] == [f"2026-01-0{day}T08:00:00.000Z" for day in range(5, 10)]
    assert {(tick["outcome"], tick["reason"], tick["backfill"]) for tick in ticks} == {("buffered", "backfill", True)}
    assert (await client.post(f"{URL}:backfill", json=week)).json() == asked.json()
    page = (await client.get(f"{URL}/ticks", params={"page_size": 3})).json()
    rest = (await client.get(f"{URL}/ticks", params={"page_size": 3, "page_token": page["next_page_token"]})).json()
    assert page["ticks"] + rest["ticks"] == ticks[::-1]
    assert rest["next_page_token"] is None
    assert (await client.get(URL)).json()["waiting"] == 5
    for wrong in ({"from": week["to"], "to": week["from"]}, {"from": "2026-01-05", "to": week["to"]}, {"to": week["to"]}, {**week, "overlap": "skip"}):
        assert (await client.post(f"{URL}:backfill", json=wrong)).status_code == 422


async def test_upcoming(client: httpx2.AsyncClient, made: httpx2.Response) -> None:
    found = (await client.get(f"{URL}/upcoming", params={"count": 3})).json()["upcoming"]
    assert len(found) == 3
    assert found[0] == {"tick": made.json()["next_tick"], "due_at": made.json()["next_at"]}
    assert (await client.get(f"{URL}/upcoming", params={"count": 1001})).status_code == 422


async def test_writing_needs_the_scope(client: httpx2.AsyncClient, world: World, made: httpx2.Response) -> None:
    reader, _ = await issue(world.store.catalog, "default", name="reader", scopes=(READ,), now=0)
    stranger, _ = await issue(world.store.catalog, "other", name="stranger", scopes=("admin",), now=0)
    headers = {"Authorization": f"Bearer {reader.text}"}
    assert (await client.get(URL, headers=headers)).status_code == 200
    for verb, path in (
        ("PUT", URL),
        ("DELETE", URL),
        ("POST", "/v1/schedules"),
        *(("POST", f"{URL}:{name}") for name in ("pause", "resume", "trigger", "backfill")),
    ):
        assert (await client.request(verb, path, headers=headers, json={})).status_code == 403
    for path in (URL, f"{URL}/ticks", f"{URL}/upcoming"):
        assert (await client.get(path, headers={"Authorization": f"Bearer {stranger.text}"})).status_code == 404
