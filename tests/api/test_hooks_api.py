"""Webhooks in, from outside: the address is the permission, the signature the proof, and what comes in is an input and nothing else."""

import hashlib
import hmac
import json
import statistics
import time
import zlib
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
from fastapi import FastAPI
from sqlalchemy import text

from runtime.api.keys import ADMIN, issue
from runtime.errors import Overloaded
from runtime.gateway.buckets import Buckets
from runtime.ids import uuid7
from runtime.signatures import Signed, key_of
from runtime.tokens import make
from tests.api.test_door import METHODS, ask, tricks
from tests.api.test_hostile import BODIES
from tests.api.test_keys import Hands
from tests.api.world import FLOW, World

MESSAGE = {"topic": "whales", "sources": ["a"]}


@pytest.fixture
async def flow(world: World) -> None:
    await world.gateway.publish("default", FLOW)


async def made(client: httpx2.AsyncClient, **body: Any) -> dict[str, Any]:
    answer = await client.post("/v1/hooks", json={"name": "push", "workflow": "demo", **body})
    assert answer.status_code == 201, answer.text
    return {**answer.json(), "path": urlsplit(answer.json()["url"]).path}


async def post(client: httpx2.AsyncClient, path: str, body: Any = MESSAGE, **headers: str) -> httpx2.Response:
    """What a sender does: no API key."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    given = {"content-type": "application/json", **{name.replace("_", "-"): value for name, value in headers.items()}}
    request = client.build_request("POST", path, content=data, headers=given)
    request.headers.pop("authorization", None)
    return await client.send(request)


def signed(hook: dict[str, Any], body: Any = MESSAGE, *, message_id: str = "msg_1", at: int | None = None) -> dict[str, str]:
    message = Signed(message_id, int(time.time()) if at is None else at, json.dumps(body).encode())
    return message.headers([key_of(hook["secret"])])


async def test_a_signed_message_starts_a_run_once(client: httpx2.AsyncClient, world: World, flow: None) -> None:
    hook = await made(client, labels={"from": "shop"})
    first = await post(client, hook["path"], **signed(hook))
    assert (first.status_code, first.json()["created"]) == (202, True)
    (run,) = await world.runs(1)
    assert (run.run_id, run.labels, run.workflow) == (first.json()["run_id"], {"team": "blue", "from": "shop"}, "demo")
    for body in (MESSAGE, {"topic": "other"}):
        again = await post(client, hook["path"], body, **signed(hook, body))
        assert (again.status_code, again.json()["code"]) == (409, "replayed")
    assert (await post(client, hook["path"], **signed(hook, message_id="msg_2"))).status_code == 202
    assert len(await world.runs(2)) == 2


async def test_a_message_that_did_not_fit_may_be_sent_again(client: httpx2.AsyncClient, flow: None) -> None:
    hook = await made(client)
    assert (await post(client, hook["path"], {}, **signed(hook, {}))).status_code == 422
    assert (await post(client, hook["path"], **signed(hook))).status_code == 202


async def test_what_is_not_signed_so_is_refused_in_the_same_words(client: httpx2.AsyncClient, world: World, flow: None) -> None:
    hook = await made(client)
    good, now = signed(hook), int(time.time())
    wrong: list[dict[str, str]] = [
        {},
        {name: value for name, value in good.items() if name != "webhook-id"},
        {**good, "webhook-id": "msg_9"},
        {**good, "webhook-timestamp": "x"},
        {**good, "webhook-signature": "v1,"},
        signed(hook, at=now - 400),
        signed(hook, at=now + 400),
        signed(hook, {"topic": "other"}),
    ]
    answers = [await post(client, hook["path"], **headers) for headers in wrong]
    assert {(answer.status_code, answer.json()["code"], answer.json()["detail"]) for answer in answers} == {
        (401, "signature_invalid", "the signature is missing or wrong, or the message is too old")
    }
    assert (await client.get("/v1/runs")).json()["runs"] == []


async def test_two_headers_of_a_name_are_none(app: FastAPI, client: httpx2.AsyncClient, flow: None) -> None:
    hook = await made(client)
    headers = {"content-type": "application/json", **signed(hook), "Webhook-Id": "msg_2"}
    assert (await ask(app, "POST", hook["path"], headers, body=json.dumps(MESSAGE).encode()))[0] == 401


async def test_a_plain_hmac_as_github_sends_it(client: httpx2.AsyncClient, flow: None) -> None:
    hook = await made(client, verify="hmac-sha256-hex", secret="s3cr3t-of-sixteen")
    right = hmac.new(b"s3cr3t-of-sixteen", json.dumps(MESSAGE).encode(), hashlib.sha256).hexdigest()
    assert hook["header"] == "X-Hub-Signature-256"
    assert (await post(client, hook["path"], X_Hub_Signature_256=f"sha256={right}")).status_code == 202
    assert (await post(client, hook["path"], X_Hub_Signature_256=f"sha256={right[:-1]}0" if right[-1] != "0" else "x")).status_code == 401
    assert (await post(client, hook["path"], X_Signature=right)).status_code == 401
    other = await made(client, name="other", verify="hmac-sha256-hex", header="X-Signature")
    right = hmac.new(other["secret"].encode(), json.dumps(MESSAGE).encode(), hashlib.sha256).hexdigest()
    one = await post(client, other["path"], X_Signature=right, Idempotency_Key="k")
    again = await post(client, other["path"], X_Signature=right, Idempotency_Key="k")
    assert (one.json()["created"], again.json()) == (True, {**one.json(), "created": False})


async def test_without_a_check_the_address_alone_decides(client: httpx2.AsyncClient, world: World, flow: None) -> None:
    hook = await made(client, verify="none")
    assert hook["secret"] is None
    assert (await post(client, hook["path"])).status_code == 202
    assert (await post(client, hook["path"], Idempotency_Key="k")).status_code == 202
    assert (await post(client, hook["path"], {"topic": "other"}, Idempotency_Key="k")).json()["code"] == "idempotency_mismatch"
    assert (await post(client, hook["path"], Idempotency_Key="k" * 300)).status_code == 202


async def test_parts_of_the_message_become_the_inputs(client: httpx2.AsyncClient, world: World, flow: None) -> None:
    inputs = {"topic": "${{ body.issue.title }} by ${{ body.sender }}", "sources": "${{ body.labels.filter(l, l != 'x') }}"}
    hook = await made(client, verify="none", inputs=inputs)
    sent = {"issue": {"title": "Sink"}, "sender": "ada", "labels": ["x", "y"], "inputs": {"topic": "?"}, "version": "0" * 64, "workflow": "other"}
    started = (await post(client, hook["path"], sent)).json()
    run = (await client.get(f"/v1/runs/{started['run_id']}")).json()
    assert run["inputs"] == {"topic": "Sink by ada", "sources": ["y"]}
    lacking = await post(client, hook["path"], {"issue": {}})
    assert (lacking.status_code, lacking.json()["code"]) == (422, "input_invalid")


@pytest.mark.parametrize(
    "body",
    [
        {"topic": "x", "steps": {"a": {"set": {}}}},
        {"topic": "x", "definition": {"name": "mine"}},
        {"topic": "x", "version": "0" * 64},
        {"topic": "x", "workflow": "other"},
        {"topic": "x", "labels": {"a": "b"}},
        {"topic": "x", "mode": "live"},
        {"inputs": {"topic": "x"}},
        {"topic": 1},
        {"topic": {"$artifact": {"sha256": "0" * 64, "size": 1, "media_type": "application/json"}}},
        {},
        [],
        "x",
        None,
        1,
    ],
)
async def test_only_the_inputs_of_the_workflow_come_in(client: httpx2.AsyncClient, world: World, flow: None, body: Any) -> None:
    hook = await made(client, verify="none")
    answer = await post(client, hook["path"], body)
    assert (answer.status_code, answer.json()["code"]) == (422, "input_invalid")
    assert (await client.get("/v1/runs")).json()["runs"] == []


async def test_hostile_bodies(client: httpx2.AsyncClient, flow: None) -> None:
    hook = await made(client, verify="none")
    for body in [*BODIES, b"x" * (2**20 + 1)]:
        answer = await post(client, hook["path"], body)
        assert 400 <= answer.status_code < 500, body[:80]
        assert answer.headers["content-type"] == "application/problem+json"
        assert is_silent_about_it(answer, hook)
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""):
        assert (await post(client, hook["path"], content_type=kind)).status_code == 415


def is_silent_about_it(answer: httpx2.Response, hook: dict[str, Any]) -> bool:
    """The address is in no part of the answer, which somebody may log."""
    return hook["path"].removeprefix("/hooks/") not in answer.text


async def test_wrong_addresses_all_look_the_same(app: FastAPI, client: httpx2.AsyncClient, flow: None) -> None:
    hook = await made(client, verify="none")
    token = hook["path"].removeprefix("/hooks/")
    near = token[:-9] + ("0" if token[-9] != "0" else "1") + token[-8:]
    wrong = [near, make("hk").text, make("ak").text, token[:-1], token.upper(), "x", "null", "%00", "é", "x" * 4000]
    answers = [await ask(app, "POST", f"/hooks/{each}", {"content-type": "application/json"}) for each in wrong]
    assert {(status, json.loads(body)["detail"], headers["connection"]) for status, headers, body in answers} == {
        (404, "there is no hook at this address", "close")
    }


async def test_an_address_with_a_known_id_takes_no_longer_than_an_unknown_one(client: httpx2.AsyncClient, app: FastAPI, flow: None) -> None:
    """Both take the same way: one look-up, one comparison. The bound is wide because the machine is shared."""
    hook = await made(client, verify="none")
    known_id = hook["path"].split("_")[1]
    known: list[float] = []
    unknown: list[float] = []
    for times in (known, unknown) * 200:
        key = make("hk")
        body = f"hk_{known_id if times is known else key.key_id}_{key.text.split('_')[2][:64]}"
        begun = time.perf_counter()
        status, _, _ = await ask(app, "POST", f"/hooks/{body}{zlib.crc32(body.encode()):08x}", {"content-type": "application/json"})
        times.append(time.perf_counter() - begun)
        assert status == 404
    assert abs(statistics.median(known) / statistics.median(unknown) - 1) < 0.5


async def test_exactly_one_route_is_open_and_by_post_alone(app: FastAPI, client: httpx2.AsyncClient, world: World, flow: None) -> None:
    hook = await made(client, verify="none")
    body = json.dumps(MESSAGE).encode()
    headers = {"content-type": "application/json"}
    for method in METHODS:
        status, _, _ = await ask(app, method, hook["path"], headers, body=body)
        assert status == (202 if method == "POST" else 401), method
    for disguised, more in tricks(hook["path"]):
        status, _, _ = await ask(app, "POST", disguised, {**headers, **more}, body=body)
        assert status in ((202,) if disguised == hook["path"] else (401, 404)), disguised
    for path in ("/hooks", "/hooks/", "/hooks/../v1/runs", "/hooks/x/../../v1/runs", "/v1/hooks", f"/v1{hook['path']}", "/hooks//", "/hooks/x/y", "/Hooks/x"):
        status, _, _ = await ask(app, "POST", path, headers, body=body)
        assert status == 401, path


async def test_a_hook_is_as_quick_as_it_may_be(client: httpx2.AsyncClient, app: FastAPI, flow: None) -> None:
    hook = await made(client, verify="none")
    app.state.services.hooks._buckets = Buckets(2, Hands(0))
    answers = [await post(client, hook["path"]) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [202, 202, 429]
    assert answers[2].headers["retry-after"] == "30"
    assert answers[2].json()["code"] == "overloaded"


def test_a_bucket_fills_again() -> None:
    clock = Hands(0)
    buckets = Buckets(60, clock)
    for _ in range(60):
        buckets.take("a")
    with pytest.raises(Overloaded) as refused:
        buckets.take("a")
    assert refused.value.retry_after == pytest.approx(1)
    buckets.take("b")
    clock.ms += 1000
    buckets.take("a")
    with pytest.raises(Overloaded):
        buckets.take("a")
    clock.ms += 10**9
    for _ in range(60):
        buckets.take("a")
    with pytest.raises(Overloaded):
        buckets.take("a")


async def test_rotation_and_deletion_end_an_address(client: httpx2.AsyncClient, flow: None) -> None:
    hook = await made(client)
    rotated = (await client.post(f"/v1/hooks/{hook['hook_id']}:rotate")).json()
    assert rotated["secret"] != hook["secret"]
    assert (await post(client, hook["path"], **signed(hook))).status_code == 404
    path = urlsplit(rotated["url"]).path
    assert (await post(client, path, **signed(hook))).status_code == 401
    assert (await post(client, path, **signed(rotated))).status_code == 202
    assert (await client.delete(f"/v1/hooks/{hook['hook_id']}")).status_code == 204
    assert (await post(client, path, **signed(rotated))).status_code == 404


async def test_neither_token_nor_secret_is_stored_or_shown_again(client: httpx2.AsyncClient, world: World, flow: None) -> None:
    hook = await made(client)
    token = hook["path"].removeprefix("/hooks/")
    stored = await world.store.reader.read(lambda connection: str(connection.execute(text("SELECT * FROM hooks")).all()))
    shown = (await client.get("/v1/hooks")).text + (await client.get(f"/v1/hooks/{hook['hook_id']}")).text
    for secret in (token, token.split("_")[2], hook["secret"], hook["secret"].removeprefix("whsec_")):
        assert secret not in stored + shown


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"workflow": "nothing"}, 404),
        ({"version": "0" * 64}, 404),
        ({"verify": "md5"}, 422),
        ({"verify": "none", "secret": "x" * 20}, 422),
        ({"secret": "x" * 20}, 422),
        ({"secret": "whsec_" + "A" * 8 + "=" * 8}, 422),
        ({"header": "bad header"}, 422),
        ({"inputs": {"topic": "${{ body.x"}}, 422),
        ({"inputs": {"topic": "${{ inputs.x }}"}}, 422),
        ({"inputs": {"topic": "${{ body.__class__() }}"}}, 422),
        ({"inputs": {"tpoic": "x"}}, 422),
        ({"name": ""}, 422),
        ({"tenant": "x"}, 422),
        ({"name": "taken"}, 409),
    ],
)
async def test_hooks_that_cannot_be(client: httpx2.AsyncClient, flow: None, body: dict[str, Any], status: int) -> None:
    await made(client, name="taken")
    answer = await client.post("/v1/hooks", json={"name": "push", "workflow": "demo", **body})
    assert answer.status_code == status, answer.text


async def test_another_tenant_sees_and_ends_nothing(client: httpx2.AsyncClient, world: World, flow: None) -> None:
    hook = await made(client)
    key, _ = await issue(world.store.catalog, "other", name="o", scopes=(ADMIN,), now=0)
    client.headers["authorization"] = f"Bearer {key.text}"
    assert (await client.get("/v1/hooks")).json() == {"hooks": []}
    for name in (hook["hook_id"], uuid7(), "x"):
        for method, path in (("GET", ""), ("DELETE", ""), ("POST", ":rotate")):
            assert (await client.request(method, f"/v1/hooks/{name}{path}")).status_code == 404


def test_a_workflow_has_no_body() -> None:
    from runtime.definition.validation import parse
    from runtime.errors import DefinitionInvalid

    with pytest.raises(DefinitionInvalid, match="hook"):
        parse("name: x\nsteps:\n  a: {set: {b: '${{ body.c }}'}}")


async def test_a_secret_that_cannot_be_read_is_no_wrong_signature(client: httpx2.AsyncClient, app: FastAPI, world: World, flow: None) -> None:
    hook = await made(client)
    await world.store.hooks.rotate("default", hook["hook_id"], token_id=hook["token_id"], digest=(await digest(world, hook)), secret="A" * 300)
    answer = await post(client, hook["path"], **signed(hook))
    assert (answer.status_code, answer.json()["code"]) == (503, "secret_unreadable")
    assert "retry-after" in answer.headers


async def digest(world: World, hook: dict[str, Any]) -> bytes:
    row = await world.store.hooks.hook("default", hook["hook_id"])
    assert row is not None
    return row.digest
