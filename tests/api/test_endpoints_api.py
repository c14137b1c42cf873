"""Webhooks out, from outside: secrets are shown once, and nobody sees or changes what is another tenant's."""

from typing import Any, get_args

import httpx2
import pytest
from sqlalchemy import text

from runtime.api.keys import ADMIN, issue
from runtime.api.requests import Event
from runtime.ids import uuid7
from runtime.signatures import key_of
from runtime.store.announcements import ANNOUNCED
from tests.api.world import World

URL = "https://receiver.example/in?x=1"


async def made(client: httpx2.AsyncClient, **body: Any) -> dict[str, Any]:
    answer = await client.post("/v1/endpoints", json={"url": URL, **body})
    assert answer.status_code == 201, answer.text
    return answer.json()


def test_the_events_one_may_subscribe_to_are_those_that_are_told() -> None:
    assert set(get_args(Event)) == {"*", *ANNOUNCED}


async def test_a_secret_is_shown_once_and_stored_encrypted(client: httpx2.AsyncClient, world: World) -> None:
    endpoint = await made(client, events=["run.failed", "run.succeeded", "run.failed"], workflows=["demo"], description="The desk.")
    secret = endpoint.pop("secret")
    assert len(key_of(secret)) == 32
    assert (endpoint["events"], endpoint["workflows"], endpoint["enabled"]) == (["run.failed", "run.succeeded"], ["demo"], True)
    path = f"/v1/endpoints/{endpoint['endpoint_id']}"
    assert (await client.get(path)).json() == endpoint
    assert (await client.get("/v1/endpoints")).json() == {"endpoints": [endpoint]}
    stored = await world.store.reader.read(lambda connection: str(connection.execute(text("SELECT * FROM endpoints")).all()))
    assert secret.removeprefix("whsec_") not in stored
    rotated = (await client.post(f"{path}:rotate")).json()
    assert rotated.pop("secret") != secret
    assert rotated == endpoint


async def test_changes_name_what_they_change(client: httpx2.AsyncClient) -> None:
    endpoint = await made(client, workflows=["demo"])
    path = f"/v1/endpoints/{endpoint['endpoint_id']}"
    assert (await client.patch(path, json={})).json()["url"] == URL
    changed = (await client.patch(path, json={"url": "http://10.0.0.1:81/", "events": ["step.failed"], "description": "x"})).json()
    assert (changed["url"], changed["events"], changed["description"], changed["workflows"]) == ("http://10.0.0.1:81/", ["step.failed"], "x", ["demo"])
    assert (await client.patch(path, json={"workflows": None})).json()["workflows"] is None
    off = (await client.patch(path, json={"enabled": False})).json()
    assert (off["enabled"], off["disabled_reason"]) == (False, "by hand")
    assert off["disabled_at"] is not None
    assert (await client.post(f"{path}:test")).status_code == 409
    on = (await client.patch(path, json={"enabled": True})).json()
    assert (on["enabled"], on["disabled_at"], on["disabled_reason"]) == (True, None, None)
    assert (await client.delete(path)).status_code == 204
    assert (await client.get(path)).status_code == 404


async def test_deliveries_are_listed_page_by_page_and_sent_again(client: httpx2.AsyncClient, world: World) -> None:
    endpoint = await made(client)
    path = f"/v1/endpoints/{endpoint['endpoint_id']}"
    tests = [(await client.post(f"{path}:test")).json() for _ in range(3)]
    assert {test["event"] for test in tests} == {"endpoint.test"}
    owner = await world.own((await world.run()).run_id)
    await owner.begin()
    seen, token = [], ""
    while True:
        page = (await client.get(f"{path}/deliveries?page_size=2{token}")).json()
        seen += page["deliveries"]
        if page["next_page_token"] is None:
            break
        token = f"&page_token={page['next_page_token']}"
    assert len(seen) == 4
    (started,) = [entry for entry in seen if entry["event"] == "run.started"]
    assert (started["run_id"], started["state"], started["tries"], started["status"]) == (owner.row.run_id, "pending", 0, None)
    assert (await client.get(f"{path}/deliveries?state=delivered")).json()["deliveries"] == []
    again = await client.post(f"{path}/deliveries/{started['delivery_id']}:redeliver")
    assert (again.status_code, again.json()["delivery_id"]) == (202, started["delivery_id"])
    assert (await client.post(f"{path}/deliveries/{uuid7()}:redeliver")).status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"url": ""},
        {"url": "ftp://x/"},
        {"url": "//x/"},
        {"url": "https://"},
        {"url": "https://u:p@x/"},
        {"url": "https://x:0/"},
        {"url": "https://x:99999/"},
        {"url": "https://x/#there"},
        {"url": "https://[::1/"},
        {"url": "https://\u0130.example:x/"},
        {"url": "x" * 2001},
        {"url": URL, "events": []},
        {"url": URL, "events": ["run.deleted"]},
        {"url": URL, "events": "*"},
        {"url": URL, "workflows": []},
        {"url": URL, "workflows": ["No Such Name"]},
        {"url": URL, "secret": "whsec_mine"},
        {"url": URL, "tenant": "other"},
        {"url": URL, "description": "x" * 1001},
        [],
    ],
)
async def test_what_is_refused(client: httpx2.AsyncClient, body: Any) -> None:
    answer = await client.post("/v1/endpoints", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "request_invalid")


async def test_another_tenant_sees_and_changes_nothing(client: httpx2.AsyncClient, world: World) -> None:
    endpoint = await made(client)
    delivery = (await client.post(f"/v1/endpoints/{endpoint['endpoint_id']}:test")).json()
    key, _ = await issue(world.store.catalog, "other", name="o", scopes=(ADMIN,), now=0)
    client.headers["authorization"] = f"Bearer {key.text}"
    assert (await client.get("/v1/endpoints")).json() == {"endpoints": []}
    for name in (endpoint["endpoint_id"], uuid7(), "x", "%00"):
        path = f"/v1/endpoints/{name}"
        for method, where in (
            ("GET", path),
            ("PATCH", path),
            ("DELETE", path),
            ("POST", f"{path}:rotate"),
            ("POST", f"{path}:test"),
            ("GET", f"{path}/deliveries"),
            ("POST", f"{path}/deliveries/{delivery['delivery_id']}:redeliver"),
        ):
            answer = await client.request(method, where, json={"enabled": False} if method == "PATCH" else None)
            assert (answer.status_code, answer.json()["code"]) == (404, "not_found"), (method, where)


async def test_there_is_a_limit(client: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime.store.endpoints.MAX_ENDPOINTS", 1)
    await made(client)
    answer = await client.post("/v1/endpoints", json={"url": URL})
    assert (answer.status_code, answer.json()["code"]) == (422, "limit_exceeded")
