"""Providers that misbehave, seen from a run: what is repeated, how long is waited, and what the journal says of it."""

import asyncio
import socket
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from runtime.agents.loop import warm
from runtime.engine.events import Event, Kind
from runtime.gateway import StartRequest
from runtime.local import LocalPlatform
from runtime.settings import Settings
from runtime.store.protocol import RunRow
from tests.support.openai_server import Drip, Drop, Huge, OpenAIServer, Raw, Received, Refuse, Slow, Text, openai_server

RETRY = {"max_attempts": 3, "initial": "100ms", "jitter": 0.5}


@pytest.fixture
async def server() -> AsyncIterator[OpenAIServer]:
    async with openai_server() as running:
        yield running


@pytest.fixture
async def platform(server: OpenAIServer, tmp_path: Path) -> AsyncIterator[LocalPlatform]:
    await warm()
    async with LocalPlatform(Settings(home=tmp_path, openai_base_url=server.url, openai_api_key="k", run_mode="live", drain_ms=100)) as running:
        await carry_out(running, "first", timeout="30s")  # it makes what all later ones share, which takes its time
        server.requests.clear()
        yield running


async def carry_out(platform: LocalPlatform, *steps: str, **options: Any) -> tuple[RunRow, list[Event]]:
    """A run of agent steps whose prompts are their names, once it has ended, and its journal. A step that fails does not fail the run."""
    step = {"timeout": "3s", "retry": RETRY, "on_error": "continue", **options}
    document = {"name": "talk", "steps": {name: {"agent": {"model": "openai:m", "prompt": name}, **step} for name in steps}}
    await platform.gateway.publish("default", document)
    run = (await platform.gateway.start("default", StartRequest("talk"))).run
    async with asyncio.timeout(50):
        while not (row := await platform.gateway.run("default", run.run_id)).status.ended:
            await platform.host.watch(run.run_id, row.head, 1)
    return row, await platform.store.journal.events(run.run_id)


def of(events: list[Event], kind: Kind, step: str) -> list[Event]:
    return [event for event in events if event.kind is kind and event.step == step]


def waits(events: list[Event], step: str) -> list[int]:
    """Milliseconds between each failed attempt of a step and the start of the next one."""
    starts = {event.attempt: event.at for event in of(events, Kind.STEP_STARTED, step)}
    return [starts[(event.attempt or 0) + 1] - event.at for event in of(events, Kind.STEP_RETRYING, step)]


PASSING: dict[str, tuple[Any, str]] = {
    "broken": (Refuse(500), "provider_unavailable"),
    "away": (Refuse(503), "provider_unavailable"),
    "overloaded": (Refuse(529), "provider_unavailable"),
    "cut": (Drop(), "provider_unavailable"),
    "slow": (Slow(Text("late"), seconds=4), "timeout"),
    "endless": (Drip(), "timeout"),
    "half": (Raw(b'{"choices": ['), "model_output_invalid"),
    "empty": (Raw(b'{"choices": []}'), "model_output_invalid"),
    "page": (Raw(b"<html>a proxy</html>", "text/html"), "model_output_invalid"),
}


async def test_what_passes_is_tried_again(server: OpenAIServer, platform: LocalPlatform) -> None:
    asked: Counter[str] = Counter()

    def answer(request: Received) -> Any:
        (step,) = request.texts("user")
        asked[step] += 1
        return PASSING[step][0] if asked[step] < 3 else Text("at last")

    server.default = answer
    row, events = await carry_out(platform, *PASSING)
    assert row.status == "succeeded"
    assert asked == dict.fromkeys(PASSING, 3)
    due: set[int] = set()
    for step, (_, code) in PASSING.items():
        retries = of(events, Kind.STEP_RETRYING, step)
        assert [(event.attempt, event.body["error"]["code"]) for event in retries] == [(1, code), (2, code)], step
        assert [event.body["output"] for event in of(events, Kind.STEP_SUCCEEDED, step)] == ["at last"]
        due |= {event.body["due"] - event.at for event in retries}
        for wait, planned in zip(waits(events, step), (100, 200), strict=True):
            assert planned / 2 - 5 <= wait <= planned * 1.5 + 2000, step
    assert len(due) > len(PASSING), "there is jitter"


REFUSED: dict[str, Any] = {
    "request": Refuse(400),
    "key": Refuse(401),
    "right": Refuse(403),
    "model": Refuse(404),
    "schema": Refuse(422),
    "money": Refuse(429, code="insufficient_quota"),
    "huge": Huge(20 * 2**20),
}


async def test_what_does_not_pass_is_tried_once(server: OpenAIServer, platform: LocalPlatform) -> None:
    server.default = lambda request: REFUSED[request.texts("user")[0]]
    _, events = await carry_out(platform, *REFUSED, timeout="30s")
    assert server.calls == len(REFUSED)
    for step in REFUSED:
        (failed,) = of(events, Kind.STEP_FAILED, step)
        assert (failed.attempt, failed.body["error"]["retryable"]) == (1, False), step


async def test_a_busy_provider_is_waited_for_without_another_attempt(server: OpenAIServer, platform: LocalPlatform) -> None:
    server.say(Refuse(429, retry_after=2), Text("at last"))
    row, events = await carry_out(platform, "a", retry=None)
    assert row.status == "succeeded"
    (ended,) = of(events, Kind.STEP_SUCCEEDED, "a")
    (started,) = of(events, Kind.STEP_STARTED, "a")
    assert 2000 <= ended.at - started.at < 6000


async def test_a_provider_that_stays_busy_is_left_to_the_retries(server: OpenAIServer, platform: LocalPlatform) -> None:
    server.say(*[Refuse(429, retry_after=0)] * 4, Text("at last"))
    row, events = await carry_out(platform, "a")
    assert (row.status, server.calls) == ("succeeded", 5)
    assert [event.body["error"]["code"] for event in of(events, Kind.STEP_RETRYING, "a")] == ["rate_limited"]


async def test_a_deadline_is_kept(server: OpenAIServer, platform: LocalPlatform) -> None:
    """Neither the patience of the retries nor that of a slow provider goes beyond it."""
    server.default = lambda request: Slow(Text("late"), seconds=5)
    row, events = await carry_out(platform, "a", timeout="10s", deadline="2s", retry={"max_attempts": 100, "initial": "10ms"})
    started = next(event.at for event in events if event.kind is Kind.STEP_STARTED)
    assert len(of(events, Kind.STEP_FAILED, "a")) == 1
    assert 1000 <= (row.ended_at or 0) - started <= 3000


async def test_a_retry_that_would_miss_the_deadline_is_not_waited_for(server: OpenAIServer, platform: LocalPlatform) -> None:
    server.default = lambda request: Refuse(503, retry_after=60)
    row, events = await carry_out(platform, "a", deadline="2s")
    started = next(event.at for event in events if event.kind is Kind.STEP_STARTED)
    assert (len(of(events, Kind.STEP_FAILED, "a")), server.calls) == (1, 1)
    assert (row.ended_at or 0) - started <= 3000


async def test_nobody_listens(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    async with LocalPlatform(Settings(home=tmp_path, openai_base_url=f"http://127.0.0.1:{port}/v1", run_mode="live", drain_ms=100)) as platform:
        _, events = await carry_out(platform, "a")
    assert [event.body["error"]["code"] for event in of(events, Kind.STEP_RETRYING, "a")] == ["provider_unavailable"] * 2
    assert len(of(events, Kind.STEP_FAILED, "a")) == 1
