"""Server-sent events against a real server: live, resumed, after the end, slow, by ticket."""

import asyncio
import json
from collections.abc import AsyncIterator

import httpx2
import pytest

from runtime.api import sse
from runtime.api.streams import Streams
from runtime.engine.events import Kind
from runtime.errors import Overloaded, StoreUnavailable
from tests.api.world import World

SSE = {"accept": "text/event-stream"}


async def lines(response: httpx2.Response) -> AsyncIterator[dict[str, str]]:
    """Each message as its fields; a comment is {"": text}."""
    fields: dict[str, str] = {}
    async for line in response.aiter_lines():
        if line:
            name, _, value = line.partition(":")
            fields[name] = value.removeprefix(" ")
        elif fields:
            yield fields
            fields = {}


async def read(client: httpx2.AsyncClient, run_id: str, stop_at: int | None = None, **headers: str) -> list[dict[str, str]]:
    """Events of the stream until it closes, or until the event with seq `stop_at`, where the connection is cut."""
    found = []
    async with client.stream("GET", f"/v1/runs/{run_id}/events", headers=SSE | headers) as response:
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        async for message in lines(response):
            if "id" in message:
                found.append(message)
                if int(message["id"]) == stop_at:
                    break
    return found


async def ended(world: World) -> str:
    run = await world.run()
    owner = await world.own(run.run_id)
    await owner.begin()
    for n in range(20):
        await owner.write((Kind.SIGNAL_RECEIVED, None, None, {"name": "x", "payload": n, "message_id": str(n)}))
    await owner.finish("done")
    return run.run_id


async def test_a_stream_is_the_journal(served: httpx2.AsyncClient, world: World) -> None:
    run_id = await ended(world)
    journal = (await served.get(f"/v1/runs/{run_id}/events", params={"page_size": 1000})).json()["events"]
    messages = await read(served, run_id)
    assert [json.loads(message["data"]) for message in messages] == journal
    assert [int(message["id"]) for message in messages] == list(range(1, len(journal) + 1))
    assert [message["event"] for message in messages] == [event["event"] for event in journal]


async def test_a_cut_stream_resumes_without_gap_or_repeat_also_after_the_end(served: httpx2.AsyncClient, world: World) -> None:
    run_id = await ended(world)
    whole = await read(served, run_id)
    for cut in range(1, len(whole)):
        first = await read(served, run_id, stop_at=cut)
        rest = await read(served, run_id, **{"Last-Event-ID": first[-1]["id"]})
        assert first + rest == whole
    done = await served.get(f"/v1/runs/{run_id}/events", headers=SSE | {"Last-Event-ID": whole[-1]["id"]})
    assert (done.status_code, done.content) == (204, b"")
    assert (await served.get(f"/v1/runs/{run_id}/events?after={len(whole) + 5}", headers=SSE)).status_code == 204
    assert (await served.get(f"/v1/runs/{run_id}/events", headers=SSE | {"Last-Event-ID": "x"})).status_code == 422


async def test_after_is_for_those_without_a_header(served: httpx2.AsyncClient, world: World) -> None:
    run_id = await ended(world)
    async with served.stream("GET", f"/v1/runs/{run_id}/events?after=3", headers=SSE) as response:
        ids = [message["id"] async for message in lines(response) if "id" in message]
    assert ids[0] == "4"
    page = (await served.get(f"/v1/runs/{run_id}/events", params={"after": 3, "page_size": 2})).json()
    assert [event["seq"] for event in page["events"]] == [4, 5]
    page = (await served.get(f"/v1/runs/{run_id}/events", params={"page_token": page["next_page_token"], "page_size": 2})).json()
    assert [event["seq"] for event in page["events"]] == [6, 7]


async def test_many_followers_see_events_as_they_are_committed(served: httpx2.AsyncClient, world: World) -> None:
    run = await world.run()
    followers = [asyncio.create_task(read(served, run.run_id)) for _ in range(20)]
    owner = await world.own(run.run_id)
    await owner.begin()
    seen = asyncio.create_task(read(served, run.run_id, stop_at=owner.row.head))
    assert [message["id"] for message in await seen] == ["1", "2", "3", "4"]
    await owner.write((Kind.STEP_STARTED, "each", 1, {"total": 2}))
    await owner.finish()
    for messages in await asyncio.gather(*followers):
        assert [int(message["id"]) for message in messages] == list(range(1, 7))
    assert not world.gateway.feeds._feeds


async def test_a_closed_stream_changes_nothing(served: httpx2.AsyncClient, world: World) -> None:
    run = await world.run()
    await read(served, run.run_id, stop_at=1)
    async with asyncio.timeout(10):
        while world.gateway.feeds._feeds:
            await served.get("/livez")
    assert (await served.get(f"/v1/runs/{run.run_id}")).json()["status"] == "queued"


async def test_a_slow_client_gets_everything_and_holds_nobody_up(world: World) -> None:
    run = await world.run()
    owner = await world.own(run.run_id)
    await owner.begin()
    slow = world.gateway.follow("default", run.run_id)
    first = await anext(slow)
    for n in range(2500):
        if n % 100 == 0:
            await owner.write(*((Kind.SIGNAL_RECEIVED, None, None, {"name": "x", "payload": n, "message_id": f"{n}-{i}"}) for i in range(100)))
    fast = [event.seq async for batch in _until(world, run.run_id, owner.row.head) for event in batch]
    await owner.finish()
    seqs = [event.seq for event in first] + [event.seq async for batch in slow for event in batch]
    assert seqs == list(range(1, owner.row.head + 1))
    assert fast == seqs[:-1]


async def _until(world: World, run_id: str, head: int) -> AsyncIterator[list]:
    async for batch in world.gateway.follow("default", run_id):
        yield batch
        if batch and batch[-1].seq >= head:
            return


async def test_silence_is_filled_with_keep_alives(world: World) -> None:
    run = await world.run()
    follow = world.gateway.follow("default", run.run_id, after=1, idle=0.01)
    assert [await anext(follow) for _ in range(3)] == [[], [], []]
    await follow.aclose()
    assert sse.KEEP_ALIVE == b": keep-alive\n\n"


async def test_a_follower_learns_that_the_database_is_gone(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    run = await world.run()
    follow = world.gateway.follow("default", run.run_id, after=1, idle=30)
    waiting = asyncio.create_task(anext(follow))

    async def gone(*_args: object) -> None:
        raise StoreUnavailable("the database is gone")

    await asyncio.sleep(0)
    monkeypatch.setattr(world.store.journal, "events", gone)
    with pytest.raises(StoreUnavailable):
        await waiting
    broken = [chunk async for chunk in sse.stream(world.gateway, Streams(), "default", run.run_id, 1)]
    assert broken[-1] == sse.BROKEN_OFF
    monkeypatch.undo()
    again = world.gateway.follow("default", run.run_id)
    assert (await anext(again))[0].seq == 1
    await again.aclose()


async def test_tickets_open_one_stream_once(served: httpx2.AsyncClient, world: World) -> None:
    run_id, other = await ended(world), await ended(world)
    made = await served.post(f"/v1/runs/{run_id}/events:ticket")
    assert made.status_code == 201
    url = made.json()["url"]
    stranger = {"authorization": ""}
    assert (await served.get(url.replace(run_id, other), headers=SSE | stranger)).status_code == 401
    assert (await served.get(url.replace("/events", "/steps"), headers=stranger)).status_code == 401
    opened = await served.get(url, headers=SSE | stranger)
    assert opened.status_code == 401 or b"run.succeeded" in opened.content
    assert (await served.get(url, headers=SSE | stranger)).status_code == 401
    assert made.json()["ticket"] not in json.dumps((await served.get("/v1/keys")).json())


def test_streams_are_bounded_per_tenant() -> None:
    streams = Streams(limit=2)
    with streams.place("a"), streams.place("a"):
        streams.check("b")
        with pytest.raises(Overloaded):
            streams.check("a")
    streams.check("a")
