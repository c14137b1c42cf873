"""DELETE /v1/runs/{id}: only what has ended, with everything, and then as if it had never been."""

import asyncio

import httpx2
import pytest

from runtime.engine.events import Kind
from runtime.ids import uuid7
from runtime.store.catalog_protocol import ArtifactRow
from tests.api.world import AT, World

SSE = {"accept": "text/event-stream"}


async def ended(world: World) -> str:
    run = await world.run()
    owner = await world.own(run.run_id)
    await owner.begin()
    digest, size = await world.gateway.artifacts.put(b"words")
    await world.store.catalog.put_artifact(ArtifactRow(run.run_id, "a.txt", digest, size, "text/plain", AT))
    await owner.finish({"text": "done"})
    return run.run_id


async def test_an_ended_run_is_removed_and_then_unknown(client: httpx2.AsyncClient, world: World) -> None:
    run_id = await ended(world)
    answer = await client.delete(f"/v1/runs/{run_id}")
    assert (answer.status_code, answer.content) == (204, b"")
    unknown = uuid7()
    for path in ("", "/events", "/steps", "/steps/first", "/artifacts", "/artifacts/a.txt"):
        gone, never = await client.get(f"/v1/runs/{run_id}{path}"), await client.get(f"/v1/runs/{unknown}{path}")
        assert gone.status_code == never.status_code == 404, path
        assert gone.text.replace(run_id, unknown) == never.text
    stream = await client.get(f"/v1/runs/{run_id}/events", headers=SSE)
    assert stream.status_code == 404
    assert (await client.get("/v1/runs")).json()["runs"] == []
    assert (await client.delete(f"/v1/runs/{run_id}")).status_code == 404
    for verb in (":cancel", ":retry", ":fork"):
        assert (await client.post(f"/v1/runs/{run_id}{verb}")).status_code == 404


async def test_a_run_that_goes_on_is_not_removed(client: httpx2.AsyncClient, world: World) -> None:
    run = await world.run()
    answer = await client.delete(f"/v1/runs/{run.run_id}")
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
    assert "cancel it first" in answer.json()["detail"]
    await client.post(f"/v1/runs/{run.run_id}:cancel")
    assert (await client.delete(f"/v1/runs/{run.run_id}")).status_code == 204


async def test_the_key_of_a_removed_run_starts_a_new_one(client: httpx2.AsyncClient, world: World) -> None:
    await world.gateway.publish("default", "name: plain\nsteps: {a: {set: {b: 1}}}")

    async def start() -> str:
        answer = await client.post("/v1/workflows/plain/runs", json={}, headers={"Idempotency-Key": "k"})
        return str(answer.json()["run_id"])

    first = await start()
    assert await start() == first
    await client.post(f"/v1/runs/{first}:cancel")
    await client.delete(f"/v1/runs/{first}")
    assert await start() != first


@pytest.mark.parametrize("run_id", ["nonsense", "018bcfe5-77af-7fba-83a3-db000e1867a6"])
async def test_what_is_not_there_cannot_be_removed(client: httpx2.AsyncClient, run_id: str) -> None:
    assert (await client.delete(f"/v1/runs/{run_id}")).status_code == 404


async def test_runs_of_others_cannot_be_removed(client: httpx2.AsyncClient, world: World) -> None:
    run = await world.run("other")
    assert (await client.delete(f"/v1/runs/{run.run_id}")).status_code == 404
    assert await world.store.journal.run(run.run_id) is not None


async def test_a_stream_of_a_run_that_is_removed_meanwhile_ends(world: World) -> None:
    """The reader is slow: it has seen one event when the rows go."""
    run = await world.run()
    owner = await world.own(run.run_id)
    await owner.begin()
    for n in range(1200):
        await owner.write((Kind.CALL_FINISHED, "each", None, {"n": n}))
    await owner.finish()
    stream = world.gateway.follow("default", run.run_id, idle=0.05)
    first = await anext(stream)
    assert first[0].seq == 1
    await world.gateway.remove("default", run.run_id)
    async with asyncio.timeout(20):
        rest = [event.seq for batch in [batch async for batch in stream] for event in batch]
    seqs = [event.seq for event in first] + rest
    assert seqs == list(range(1, len(seqs) + 1)), "no gap, whatever was still read"
