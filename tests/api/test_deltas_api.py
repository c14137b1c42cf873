"""What models say, in the event stream of their run: while they say it, outside the journal, and taken back when it comes to nothing."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from actors.cli.connection import Connection
from actors.cli.local import LocalSession
from actors.cli.progress import View
from actors.cli.sessions import RemoteSession, Session
from runtime.agents.loop import warm
from runtime.agents.providers import Providers
from runtime.api import sse
from runtime.api.answers import Delta as DeltaAnswer
from runtime.api.streams import Streams
from runtime.deltas.buffer import MAX_CHARACTERS
from runtime.deltas.delta import Delta
from runtime.deltas.views import heard
from runtime.gateway import StartRequest
from runtime.local import LocalPlatform
from runtime.settings import Settings
from runtime.store.protocol import RunRow
from tests.support.ears import text_of
from tests.support.following import reading
from tests.support.openai_server import Endless, Received, Slow, Streamed, Text
from tests.support.served import served
from tests.support.wires import Given, Wire, wires

LONG = "Grüße aus Köln: ☔ und 🦭, mehrmals. " * 5


@pytest.fixture(params=["openai", "anthropic"])
async def wire(request, monkeypatch) -> AsyncIterator[Wire]:
    """A provider the platform asks with a key of the test's own."""
    await warm()
    async with wires(request.param) as (made,):
        credentials = Given({made.provider: made.credential()})
        monkeypatch.setattr("runtime.steps.agent.Providers", lambda settings, *_rest: Providers(settings, credentials))
        yield made


@pytest.fixture
async def platform(tmp_path: Path) -> AsyncIterator[LocalPlatform]:
    async with LocalPlatform(Settings(home=tmp_path, run_mode="live", drain_ms=100)) as running:
        yield running


@pytest.fixture
async def client(platform: LocalPlatform) -> AsyncIterator[httpx2.AsyncClient]:
    async with served(platform) as opened:
        yield opened


async def start(platform: LocalPlatform, wire: Wire, **step: Any) -> RunRow:
    """A run of a flow that first waits for a signal, so that whoever wants to follow it can be there."""
    steps = {"go": {"signal": {"name": "go"}}, "draft": {"agent": {"prompt": "Write.", "model": wire.model}, "needs": ["go"], **step}}
    await platform.gateway.publish("default", {"name": "talk", "steps": steps})
    return (await platform.gateway.start("default", StartRequest("talk", {}, mode="live"))).run


async def go(platform: LocalPlatform, run: RunRow) -> None:
    await platform.gateway.signal("default", run.run_id, "go", None)


async def test_a_client_reads_what_is_being_written(wire: Wire, platform: LocalPlatform, client: httpx2.AsyncClient) -> None:
    gate = asyncio.Event()
    wire.server.say(Streamed(Text(LONG), gate=gate))
    run = await start(platform, wire)
    async with reading(client, run.run_id) as reader:
        await go(platform, run)
        first = await reader.until("step.delta")
        assert (first["step"], first["attempt"], first["body"]["offset"], first["body"]["call"], first["body"]["index"]) == ("draft", 1, 0, 1, None)
        assert first["id"] is None
        assert (await platform.gateway.run("default", run.run_id)).status == "running"
        gate.set()
        await reader.until("run.succeeded")
    assert reader.text() == LONG
    assert all(message["id"] is None for message in reader.deltas)
    assert all(DeltaAnswer.model_validate({name: value for name, value in message.items() if name != "id"}) for message in reader.deltas)
    journal = await platform.store.journal.events(run.run_id)
    assert [int(message["id"]) for message in reader.messages if message["id"]] == [event.seq for event in journal]
    assert not any(str(event.kind).startswith("step.delta") for event in journal)
    assert [request.body.get("stream") for request in wire.server.requests] == [True]


async def test_whoever_does_not_ask_gets_the_journal_alone_and_costs_nothing(wire: Wire, platform: LocalPlatform, client: httpx2.AsyncClient) -> None:
    run = await start(platform, wire)
    async with reading(client, run.run_id, deltas="false") as reader:
        await go(platform, run)
        await reader.until("run.succeeded")
    assert reader.deltas == []
    assert not wire.server.requests[0].body.get("stream")


async def test_who_comes_in_the_middle_reads_the_beginning(wire: Wire, platform: LocalPlatform, client: httpx2.AsyncClient) -> None:
    gate = asyncio.Event()
    wire.server.say(Streamed(Text(LONG), gate=gate))
    run = await start(platform, wire, agent={"prompt": "Write.", "model": wire.model, "stream": True})
    await go(platform, run)
    await wire.server.asked(1)
    async with reading(client, run.run_id) as first, reading(client, run.run_id, after=1) as second:
        for reader in (first, second):
            if not reader.deltas:
                await reader.until("step.delta")
            assert reader.deltas[0]["body"]["offset"] == 0
        gate.set()
        for reader in (first, second):
            await reader.until("run.succeeded")
            assert reader.text() == LONG


async def test_a_failed_attempt_is_taken_back(wire: Wire, platform: LocalPlatform, client: httpx2.AsyncClient) -> None:
    wire.server.say(Streamed(Text("a first try that breaks off"), cut=lambda whole: len(whole) // 2), Text(LONG))
    run = await start(platform, wire, retry={"initial": "10ms"})
    async with reading(client, run.run_id) as reader:
        await go(platform, run)
        await reader.until("run.succeeded")
    names = [message["event"] for message in reader.messages]
    dropped = next(message for message in reader.messages if message["event"] == "step.delta_dropped")
    assert dropped["body"] == {"index": None, "call": 1, "offset": None, "text": None, "format": "text", "because": "provider_unavailable"}
    assert "step.retrying" in names
    assert {message["attempt"] for message in reader.deltas} == {1, 2}
    assert reader.text() == LONG


async def test_items_are_told_apart(wire: Wire, platform: LocalPlatform, client: httpx2.AsyncClient) -> None:
    def answer(request: Received) -> Any:
        (prompt,) = request.texts("user")
        return Text(prompt.replace("Write", "Written") * 5)

    wire.server.default = answer
    run = await start(platform, wire, map={"over": "['a', 'b', 'c']"}, agent={"prompt": "Write ${{ item }}.", "model": wire.model})
    async with reading(client, run.run_id) as reader:
        await go(platform, run)
        await reader.until("run.succeeded")
    assert [reader.text(index) for index in range(3)] == [f"Written {letter}." * 5 for letter in "abc"]


async def test_a_cancel_aborts_a_streamed_call(wire: Wire, platform: LocalPlatform, client: httpx2.AsyncClient) -> None:
    wire.server.say(Endless())
    run = await start(platform, wire)
    async with reading(client, run.run_id) as reader:
        await go(platform, run)
        await reader.until("step.delta")
        await platform.gateway.cancel("default", run.run_id)
        await asyncio.wait_for(wire.server.left(), 20)  # the answer itself has no end
        await reader.until("run.canceled")
    assert not platform.deltas.stories._runs


@pytest.mark.parametrize("stream", [True, False])
async def test_a_cancel_aborts_all_calls_of_a_map(wire: Wire, platform: LocalPlatform, stream: bool) -> None:
    wire.server.default = lambda request: Endless() if stream else Slow(Text("late"), release=asyncio.Event())
    agent = {"prompt": "Write ${{ item }}.", "model": wire.model, "stream": stream}
    run = await start(platform, wire, agent=agent, map={"over": "[1, 2, 3, 4, 5, 6, 7, 8]"})
    await go(platform, run)
    await wire.server.asked(8)
    assert wire.server.in_flight == 8
    await platform.gateway.cancel("default", run.run_id)
    await asyncio.wait_for(wire.server.left(8), 20)  # neither kind of answer has an end
    assert (await platform.gateway.wait("default", run.run_id, 20)).status == "canceled"


async def test_a_platform_that_dies_in_the_middle_begins_the_text_anew(wire: Wire, tmp_path: Path) -> None:
    held = asyncio.Event()
    wire.server.say(Streamed(Text("a text that is lost"), gate=held), Text(LONG))
    home = Settings(home=tmp_path / "home", run_mode="live", drain_ms=100)
    async with LocalPlatform(home) as before:
        run = await start(before, wire, agent={"prompt": "Write.", "model": wire.model, "stream": True})
        await go(before, run)
        await wire.server.asked(1)
    held.set()
    after = LocalPlatform(home)
    with after.deltas.follow(run.run_id) as buffer:
        async with after:
            assert (await after.gateway.wait("default", run.run_id, 40)).result is not None
        deltas = (await buffer.take())[1]
    assert text_of(deltas) == LONG
    assert {delta.attempt for delta in deltas if delta.says} == {2}


async def test_a_client_that_leaves_is_followed_no_more(wire: Wire, platform: LocalPlatform, client: httpx2.AsyncClient) -> None:
    run = await start(platform, wire)
    async with reading(client, run.run_id):
        assert platform.deltas.followed(run.run_id)
    async with asyncio.timeout(10):
        while platform.deltas.followed(run.run_id):
            await client.get("/livez")
    await go(platform, run)
    await platform.gateway.wait("default", run.run_id, 20)
    assert not wire.server.requests[0].body.get("stream")


@pytest.mark.parametrize("local", [True, False])
@pytest.mark.parametrize("deltas", [True, False])
async def test_the_command_line_hears_them_in_both_of_its_ways(
    wire: Wire,
    platform: LocalPlatform,
    client: httpx2.AsyncClient,
    local: bool,
    deltas: bool,
) -> None:
    session: Session = LocalSession(platform.gateway, platform.deltas) if local else RemoteSession(Connection(str(client.base_url), None), client)
    wire.server.say(Text(LONG))
    run = await start(platform, wire)
    view, said = View(run.run_id), ""
    async with asyncio.timeout(30):
        async for event in session.events(run.run_id, deltas=deltas):
            view.apply(event)
            if event["event"] == "step.waiting":
                await go(platform, run)
            if event["event"] == "step.delta":
                said += event["body"]["text"]
                assert "seq" not in event
    assert said == (LONG if deltas else "")
    assert (view.status, view.seq) == ("succeeded", (await platform.gateway.run("default", run.run_id)).head)


async def test_a_slow_client_is_told_what_it_has_lost(platform: LocalPlatform) -> None:
    await platform.gateway.publish("default", {"name": "wait", "steps": {"go": {"signal": {"name": "go"}}}})
    run = (await platform.gateway.start("default", StartRequest("wait", {}))).run
    chunks = sse.stream(platform.gateway, Streams(), "default", run.run_id, 0, platform.deltas)
    await anext(chunks)  # from here on it does not read
    piece = "x" * 1024
    for place in range(2 * MAX_CHARACTERS // len(piece)):
        platform.deltas.publish(Delta(run.run_id, "draft", None, 1, 1, place * len(piece), piece))
    (buffer,) = platform.deltas._followers[run.run_id]
    assert buffer._size <= MAX_CHARACTERS
    told = b""
    async with asyncio.timeout(20):
        while b"event: step.delta\n" not in told:
            told += await anext(chunks)
    await chunks.aclose()
    lost, said = [json.loads(line.removeprefix(b"data: ")) for line in told.split(b"\n") if line.startswith(b'data: {"event":"step.delta')]
    assert lost == {"event": "step.delta_lost", "step": None, "attempt": None, "body": {"characters": said["body"]["offset"]}}
    assert said["body"]["offset"] + len(said["body"]["text"]) == 2 * MAX_CHARACTERS


async def test_marks_that_are_no_news_for_clients_are_not_sent() -> None:
    assert heard((0, [Delta("r", "a", None, 1, 1, 5, "", ended=True)])) == []
