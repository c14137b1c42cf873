"""The API in front of a real host: from the outside, with nothing but HTTP."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import pytest

from runtime.api.app import build_app
from runtime.api.keys import ensure_local_key
from runtime.api.services import Services, over
from runtime.local import LocalPlatform
from runtime.settings import Settings
from tests.api import functions
from tests.api.conftest import serving
from tests.api.test_streams import lines, read

MAP = {
    "name": "doubled",
    "inputs": {"numbers": {"type": "array", "items": {"type": "integer"}}},
    "steps": {
        "each": {
            "python": {"function": "tests.api.functions:double", "args": {"n": "${{ item }}"}},
            "map": {"over": "inputs.numbers"},
            "retry": {"max_attempts": 1},
        },
        "total": {"set": {"count": "${{ size(steps.each.output) }}"}},
    },
    "outputs": {"count": "steps.total.output.count"},
}
ASK = {
    "name": "ask",
    "steps": {
        "question": {"approval": {"message": "Go on?", "on_reject": "continue"}},
        "answer": {"set": {"approved": "${{ steps.question.output.approved }}"}},
        "news": {"signal": {"name": "news"}, "needs": ["answer"]},
    },
    "outputs": {"approved": "steps.answer.output.approved", "news": "steps.news.output"},
}


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of the whole platform in this process, with the key made at its first start."""
    settings = Settings(home=tmp_path, python_modules=["tests.api.functions"], run_mode="live")
    functions.calls.clear()
    functions.broken["yes"] = True
    async with LocalPlatform(settings) as platform:
        key = await ensure_local_key(platform.store.catalog, tmp_path)

        @asynccontextmanager
        async def services() -> AsyncIterator[Services]:
            yield over(platform.store, platform.gateway, settings)

        app = build_app(services, settings)
        async with app.router.lifespan_context(app), serving(app, key) as client:
            yield client


async def start(api: httpx2.AsyncClient, definition: dict, inputs: dict | None = None, **headers: str) -> dict:
    name = definition["name"]
    assert (await api.put(f"/v1/workflows/{name}", json=definition)).status_code == 200
    answer = await api.post(f"/v1/workflows/{name}/runs", json={"inputs": inputs or {}}, headers=headers)
    assert answer.status_code in (200, 202), answer.text
    return answer.json()


async def end(api: httpx2.AsyncClient, run_id: str) -> dict:
    """The run, once it has ended."""
    run = (await api.get(f"/v1/runs/{run_id}", headers={"Prefer": "wait=30"})).json()
    assert run["ended_at"] is not None
    return run


async def follow(api: httpx2.AsyncClient, run_id: str, name: str) -> dict:
    """The first event of this name, as soon as it is committed."""
    async with api.stream("GET", f"/v1/runs/{run_id}/events", headers={"accept": "text/event-stream"}) as response:
        async for message in lines(response):
            if message.get("event") == name:
                return json.loads(message["data"])
    raise AssertionError(f"{name} never came")


async def test_start_and_wait_is_one_request(api: httpx2.AsyncClient) -> None:
    run = await start(api, MAP, {"numbers": [1, 2, 3]}, Prefer="wait=30")
    assert (run["status"], run["output"]) == ("succeeded", {"count": 3})
    assert (await api.get("/health")).json() == {"status": "ok", "durability": "full"}
    assert "active_runs" in (await api.get("/metrics")).text


async def test_ten_thousand_items_page_by_page(api: httpx2.AsyncClient) -> None:
    run = await start(api, MAP, {"numbers": list(range(100, 10_100))}, Prefer="wait=45")
    assert (run["status"], run["output"]) == ("succeeded", {"count": 10_000})
    found, token = [], None
    while True:
        page = (await api.get(f"/v1/runs/{run['run_id']}/steps/each/items", params={"page_size": 1000} | ({"page_token": token} if token else {}))).json()
        found += [item["output"] for item in page["items"]]
        if (token := page["next_page_token"]) is None:
            break
    assert found == [2 * n for n in range(100, 10_100)]


async def test_events_live_and_later_are_the_same(api: httpx2.AsyncClient) -> None:
    run = await start(api, MAP, {"numbers": [1, 2]})
    live = await read(api, run["run_id"])
    assert await read(api, run["run_id"]) == live
    assert live[-1]["event"] == "run.succeeded"
    assert [int(message["id"]) for message in live] == list(range(1, len(live) + 1))
    for cut in range(1, len(live)):
        assert await read(api, run["run_id"], **{"Last-Event-ID": str(cut)}) == live[cut:]


@pytest.mark.parametrize("approved", [True, False])
async def test_a_person_and_a_signal(api: httpx2.AsyncClient, approved: bool) -> None:
    run = await start(api, ASK)
    asked = await follow(api, run["run_id"], "approval.requested")
    (waiting,) = (await api.get("/v1/approvals")).json()["approvals"]
    assert waiting["approval_id"] == asked["body"]["approval_id"]
    assert (await api.post(f"/v1/runs/{run['run_id']}/signals/news", json={"payload": {"n": 1}})).status_code == 202
    answer = await api.post(f"/v1/approvals/{waiting['approval_id']}:decide", json={"approved": approved})
    assert answer.status_code == 200
    ended = await end(api, run["run_id"])
    assert (ended["status"], ended["output"]) == ("succeeded", {"approved": approved, "news": {"n": 1}})
    assert (await api.get("/v1/approvals")).json()["approvals"] == []


async def test_an_accepted_cancel_wins(api: httpx2.AsyncClient) -> None:
    run = await start(api, ASK)
    await follow(api, run["run_id"], "approval.requested")
    assert (await api.post(f"/v1/runs/{run['run_id']}:cancel")).status_code == 202
    assert (await end(api, run["run_id"]))["status"] == "canceled"
    (approval,) = (await api.get("/v1/approvals", params={"pending": False})).json()["approvals"]
    assert (await api.post(f"/v1/approvals/{approval['approval_id']}:decide", json={"approved": True})).status_code == 409


async def test_pause_and_resume(api: httpx2.AsyncClient) -> None:
    run = await start(api, ASK)
    asked = await follow(api, run["run_id"], "approval.requested")
    await api.post(f"/v1/runs/{run['run_id']}:pause")
    await follow(api, run["run_id"], "run.paused")
    await api.post(f"/v1/approvals/{asked['body']['approval_id']}:decide", json={"approved": True})
    await api.post(f"/v1/runs/{run['run_id']}/signals/news", json={})
    assert (await api.get(f"/v1/runs/{run['run_id']}")).json()["status"] == "paused"
    await api.post(f"/v1/runs/{run['run_id']}:resume")
    assert (await end(api, run["run_id"]))["status"] == "succeeded"


async def test_retry_runs_only_the_failed_items_again(api: httpx2.AsyncClient) -> None:
    run = await start(api, MAP, {"numbers": [11, 12, 13, 14]}, Prefer="wait=30")
    assert run["status"] == "failed"
    functions.calls.clear()
    functions.broken["yes"] = False
    again = (await api.post(f"/v1/runs/{run['run_id']}:retry", headers={"Prefer": "wait=30"})).json()
    assert (again["status"], again["output"]) == ("succeeded", {"count": 4})
    assert functions.calls == [13]
    items = (await api.get(f"/v1/runs/{again['run_id']}/steps/each/items")).json()["items"]
    assert [item["output"] for item in items] == [22, 24, 26, 28]


async def test_fork_reuses_what_lies_before(api: httpx2.AsyncClient) -> None:
    run = await start(api, MAP, {"numbers": [1, 2]}, Prefer="wait=30")
    functions.calls.clear()
    forked = (await api.post(f"/v1/runs/{run['run_id']}:fork", json={"from_step": "total"}, headers={"Prefer": "wait=30"})).json()
    assert (forked["status"], forked["output"], functions.calls) == ("succeeded", {"count": 2}, [])
    anew = (
        await api.post(f"/v1/runs/{run['run_id']}:fork", json={"from_step": "each", "inputs": {"numbers": [5, 6, 7]}}, headers={"Prefer": "wait=30"})
    ).json()
    assert (anew["status"], anew["output"], sorted(functions.calls)) == ("succeeded", {"count": 3}, [5, 6, 7])


async def test_many_at_once(api: httpx2.AsyncClient) -> None:
    await api.put("/v1/workflows/doubled", json=MAP)
    body = {"runs": [{"inputs": {"numbers": [n, n + 100]}} for n in range(100, 300)]}
    runs = (await api.post("/v1/workflows/doubled/runs:batch", json=body)).json()["runs"]
    ended = await asyncio.gather(*(end(api, run["run_id"]) for run in runs))
    assert {run["status"] for run in ended} == {"succeeded"}
