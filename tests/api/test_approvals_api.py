"""The inbox of approvals over HTTP."""

import asyncio

import httpx2
import pytest

from runtime.engine.events import Kind
from runtime.ids import uuid7
from runtime.store.protocol import ApprovalRow, MessageKind
from tests.api.world import AT, DOCUMENT, World

FORM = DOCUMENT["steps"]["ask"]["approval"]["form"]


async def asked(world: World, tenant: str = "default") -> tuple[str, str]:
    """A run that waits for an approval: (run id, approval id)."""
    run = await world.run(tenant)
    owner = await world.own(run.run_id)
    await owner.begin()
    approval = uuid7()
    await owner.write(
        (Kind.STEP_WAITING, "ask", 1, {"for": "approval", "approval_id": approval}),
        (Kind.APPROVAL_REQUESTED, "ask", None, {"approval_id": approval, "message": "Is it good?", "form": FORM}),
        approvals=(ApprovalRow(approval, run.run_id, "demo", "ask", AT, "Is it good?", FORM),),
    )
    return run.run_id, approval


async def test_the_inbox(client: httpx2.AsyncClient, world: World) -> None:
    found = [await asked(world) for _ in range(3)]
    await asked(world, tenant="acme")
    first = (await client.get("/v1/approvals", params={"page_size": 2})).json()
    rest = (await client.get("/v1/approvals", params={"page_token": first["next_page_token"]})).json()
    shown = first["approvals"] + rest["approvals"]
    assert {(each["run_id"], each["approval_id"]) for each in shown} == set(found)
    assert len(shown) == 3
    run_id, approval_id = found[0]
    (mine,) = (await client.get("/v1/approvals", params={"run_id": run_id})).json()["approvals"]
    assert mine == (await client.get(f"/v1/approvals/{approval_id}")).json()
    assert (mine["message"], mine["form"], mine["decision"]) == ("Is it good?", FORM, None)


async def test_the_first_decision_stands(client: httpx2.AsyncClient, world: World) -> None:
    run_id, approval_id = await asked(world)
    path = f"/v1/approvals/{approval_id}:decide"
    answer = await client.post(path, json={"approved": True, "form": {"stars": 5}, "comment": "fine"}, headers={"Idempotency-Key": "k"})
    assert answer.status_code == 200
    decision = answer.json()["decision"]
    assert (decision["approved"], decision["form"], decision["comment"], decision["by"]) == (True, {"stars": 5}, "fine", "tester")
    again = await client.post(path, json={"approved": True, "form": {"stars": 5}, "comment": "fine"}, headers={"Idempotency-Key": "k"})
    assert (again.status_code, again.json()) == (200, answer.json())
    second = await client.post(path, json={"approved": False})
    assert (second.status_code, second.json()["code"]) == (409, "already_decided")
    assert "tester" in second.json()["detail"]
    (message,) = await world.store.journal.inbox(f"owner-of-{run_id}")
    assert message.kind is MessageKind.APPROVAL
    assert (message.body["approved"], message.body["form"], message.body["by"]) == (True, {"stars": 5}, "tester")
    assert (await client.get("/v1/approvals")).json()["approvals"] == []
    assert len((await client.get("/v1/approvals", params={"pending": False})).json()["approvals"]) == 1


async def test_two_people_at_once(client: httpx2.AsyncClient, world: World) -> None:
    _, approval_id = await asked(world)
    answers = await asyncio.gather(*(client.post(f"/v1/approvals/{approval_id}:decide", json={"approved": False, "comment": str(n)}) for n in range(20)))
    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 19


@pytest.mark.parametrize(
    ("body", "status", "pointer"),
    [
        ({"approved": True}, 422, "/form"),
        ({"approved": True, "form": {"stars": 0}}, 422, "/form/stars"),
        ({"approved": True, "form": {}}, 422, "/form"),
        ({"approved": False, "form": {"stars": "x"}}, 422, "/form/stars"),
        ({"approved": "yes"}, 422, "/approved"),
        ({}, 422, "/approved"),
        ({"approved": False, "by": "somebody else"}, 422, "/by"),
    ],
)
async def test_forms_are_checked_before_they_count(client: httpx2.AsyncClient, world: World, body: dict, status: int, pointer: str) -> None:
    _, approval_id = await asked(world)
    answer = await client.post(f"/v1/approvals/{approval_id}:decide", json=body)
    assert answer.status_code == status
    assert answer.json()["errors"][0]["pointer"].startswith(pointer)
    assert (await client.get(f"/v1/approvals/{approval_id}")).json()["decided_at"] is None


async def test_a_rejection_needs_no_form(client: httpx2.AsyncClient, world: World) -> None:
    _, approval_id = await asked(world)
    assert (await client.post(f"/v1/approvals/{approval_id}:decide", json={"approved": False})).status_code == 200


async def test_what_is_not_ours_is_not_there(client: httpx2.AsyncClient, world: World) -> None:
    _, theirs = await asked(world, tenant="acme")
    for approval_id in (theirs, "x", "%00", uuid7()):
        assert (await client.get(f"/v1/approvals/{approval_id}")).status_code == 404
        assert (await client.post(f"/v1/approvals/{approval_id}:decide", json={"approved": False})).status_code == 404
    assert (await client.get("/v1/approvals", params={"run_id": "x"})).status_code == 422
