"""Changing runs over HTTP: cancel, pause, resume, signals, decisions, retry, fork."""

import httpx2
import pytest

from runtime.engine.events import Kind
from runtime.store.protocol import MessageKind
from tests.api.world import Owner, World


async def mail(world: World, owner: Owner) -> list:
    return await world.store.journal.inbox(f"owner-of-{owner.row.run_id}")


async def test_a_queued_run_is_canceled_at_once(client: httpx2.AsyncClient, world: World) -> None:
    run = await world.run()
    answer = await client.post(f"/v1/runs/{run.run_id}:cancel", json={"reason": "enough"})
    assert (answer.status_code, answer.json()["status"]) == (202, "canceled")
    assert (await client.post(f"/v1/runs/{run.run_id}:cancel")).json()["status"] == "canceled"
    events = (await client.get(f"/v1/runs/{run.run_id}/events")).json()["events"]
    assert events[-1]["event"] == "run.canceled"
    assert events[-1]["body"] == {"reason": "enough", "by": "tester"}
    pause = await client.post(f"/v1/runs/{run.run_id}:pause")
    assert (pause.status_code, pause.json()["code"], pause.json()["run_id"]) == (409, "run_ended", run.run_id)
    assert "canceled" in pause.json()["detail"]


async def test_a_running_run_is_told(client: httpx2.AsyncClient, world: World) -> None:
    run = await world.run()
    owner = await world.own(run.run_id)
    await owner.begin()
    world.gateway.runner.nudged.clear()
    for verb in ("pause", "resume", "cancel", "cancel"):
        assert (await client.post(f"/v1/runs/{run.run_id}:{verb}", json={})).status_code == 202
    assert [message.kind for message in await mail(world, owner)] == [MessageKind.PAUSE, MessageKind.RESUME, MessageKind.CANCEL]
    assert world.gateway.runner.nudged == [run.run_id] * 4
    assert (await client.get(f"/v1/runs/{run.run_id}")).json()["cancel_requested_at"] is not None


async def test_a_refused_cancel_names_the_end(client: httpx2.AsyncClient, world: World) -> None:
    run = await world.run()
    owner = await world.own(run.run_id)
    await owner.begin()
    await owner.finish()
    answer = await client.post(f"/v1/runs/{run.run_id}:cancel")
    assert answer.status_code == 409
    assert "succeeded" in answer.json()["detail"]


async def test_signals_are_checked_and_delivered_once(client: httpx2.AsyncClient, world: World) -> None:
    run = await world.run()
    owner = await world.own(run.run_id)
    path = f"/v1/runs/{run.run_id}/signals/ping"
    bad = await client.post(path, json={"payload": {"count": "many"}})
    assert (bad.status_code, bad.json()["errors"][0]["pointer"]) == (422, "/payload/count")
    assert (await client.post(path)).status_code == 422
    for _ in range(2):
        assert (await client.post(path, json={"payload": {"count": 1}}, headers={"Idempotency-Key": "one"})).status_code == 202
    assert (await client.post(path, json={"payload": {"count": 2}})).status_code == 202
    assert [message.body for message in await mail(world, owner)] == [{"name": "ping", "payload": {"count": n}} for n in (1, 2)]
    unknown = await client.post(f"/v1/runs/{run.run_id}/signals/pin", json={})
    assert unknown.status_code == 404
    assert "did you mean ping" in unknown.json()["detail"]
    forged = await client.post(path, json={"payload": {"count": 1, "x": {"$artifact": {}}}})
    assert (forged.status_code, forged.json()["errors"][0]["pointer"]) == (422, "/payload/x")


async def test_decisions_only_where_one_is_asked_for(client: httpx2.AsyncClient, world: World) -> None:
    run = await world.run()
    owner = await world.own(run.run_id)
    await owner.begin()
    path = f"/v1/runs/{run.run_id}/decisions"
    assert (await client.post(path, json={"step": "ping", "action": "retry"})).status_code == 409
    assert (await client.post(path, json={"step": "nothing", "action": "retry"})).status_code == 404
    assert (await client.post(path, json={"step": "ping", "action": "guess"})).status_code == 422
    await owner.write((Kind.STEP_STARTED, "ping", 1, None), (Kind.STEP_WAITING, "ping", 1, {"for": "decision"}))
    assert (await client.post(path, json={"step": "ping", "action": "succeed", "output": {"n": 1}})).status_code == 202
    (message,) = await mail(world, owner)
    assert (message.kind, message.body) == (MessageKind.DECISION, {"step": "ping", "action": "succeed", "output": {"n": 1}})


async def failed(world: World) -> str:
    run = await world.run()
    owner = await world.own(run.run_id)
    await owner.begin()
    error = {"code": "boom", "message": "no"}
    await owner.write(
        (Kind.STEP_STARTED, "each", 1, {"total": 3}),
        (Kind.ITEMS_STARTED, "each", None, {"items": [[0, 2]], "attempt": 1}),
        (Kind.ITEMS_FINISHED, "each", None, {"done": [[0, "A"], [2, "C"]], "failed": [[1, 1, error]]}),
        (Kind.STEP_FAILED, "each", 1, {"error": error}),
    )
    await owner.fail()
    return run.run_id


async def test_retry_keeps_what_was_finished(client: httpx2.AsyncClient, world: World) -> None:
    source = await failed(world)
    answer = await client.post(f"/v1/runs/{source}:retry", headers={"Idempotency-Key": "again"})
    assert answer.status_code == 202
    run = answer.json()
    assert (run["forked_from"], run["status"]) == (source, "queued")
    assert run["run_id"] != source
    assert run["inputs"]["topic"] == "whales"
    assert (await client.post(f"/v1/runs/{source}:retry", headers={"Idempotency-Key": "again"})).json()["run_id"] == run["run_id"]
    events = (await client.get(f"/v1/runs/{run['run_id']}/events")).json()["events"]
    assert [event["seq"] for event in events] == list(range(1, run["head"] + 1))
    assert events[0]["body"]["forked_from"] == {"run_id": source, "reason": "retry"}
    steps = {step["step"]: step for step in (await client.get(f"/v1/runs/{run['run_id']}/steps")).json()["steps"]}
    assert (steps["first"]["status"], steps["first"]["cached"]) == ("succeeded", True)
    assert (steps["each"]["items"]["succeeded"], steps["each"]["items"]["pending"]) == (2, 1)
    assert steps["last"]["status"] == "pending"
    assert (await client.get(f"/v1/runs/{source}")).json()["status"] == "failed"


async def test_only_what_ended_badly_is_retried(client: httpx2.AsyncClient, world: World) -> None:
    run = await world.run()
    assert (await client.post(f"/v1/runs/{run.run_id}:retry")).status_code == 409
    await client.post(f"/v1/runs/{run.run_id}:cancel")
    assert (await client.post(f"/v1/runs/{run.run_id}:retry")).status_code == 202


async def test_fork_from_a_step_with_other_inputs(client: httpx2.AsyncClient, world: World) -> None:
    source = await failed(world)
    answer = await client.post(f"/v1/runs/{source}:fork", json={"from_step": "each", "inputs": {"topic": "dolphins"}})
    assert answer.status_code == 202
    run = answer.json()
    assert run["inputs"] == {"topic": "dolphins", "sources": ["a", "b", "c"]}
    events = (await client.get(f"/v1/runs/{run['run_id']}/events")).json()["events"]
    assert [(event["seq"], event["event"], event["step"]) for event in events] == [(1, "run.created", None), (2, "step.reused", "first")]
    assert events[0]["body"]["forked_from"] == {"run_id": source, "reason": "fork", "step": "each"}


async def test_fork_from_the_beginning_keeps_nothing(client: httpx2.AsyncClient, world: World) -> None:
    source = await failed(world)
    run = (await client.post(f"/v1/runs/{source}:fork")).json()
    assert (run["head"], run["forked_from"]) == (1, source)


@pytest.mark.parametrize(
    ("body", "status"),
    [({"from_step": "nothing"}, 404), ({"inputs": {"topic": 1}}, 422), ({"inputs": {"topc": "x"}}, 422), ({"step": "each"}, 422), ({"from_step": 1}, 422)],
)
async def test_bad_forks(client: httpx2.AsyncClient, world: World, body: dict, status: int) -> None:
    assert (await client.post(f"/v1/runs/{await failed(world)}:fork", json=body)).status_code == status
