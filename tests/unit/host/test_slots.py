"""Hosts and limits of concurrency: who is next starts at once, nobody works without a slot, and a death leaks none."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest_asyncio

from runtime.definition.concurrency import slot_columns
from runtime.definition.validation import parse
from runtime.host.intake import POLL_SECONDS
from runtime.store.fsck import fsck
from runtime.store.protocol import MessageKind, SendOutcome
from tests.unit.host.world import Hands, Told, World, a_world, echo

NARROW: dict[str, Any] = {"name": "narrow", "concurrency": {"limit": 1}, "steps": {"work": {"python": {"function": "m:f"}}}}
CALLER: dict[str, Any] = {
    "name": "caller",
    "steps": {"each": {"workflow": {"name": "narrow"}, "map": {"over": "[1, 2, 3, 4]"}}, "count": {"set": {"n": "${{ size(steps.each.output) }}"}}},
}


@pytest_asyncio.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with a_world(tmp_path) as world:
        yield world


async def submit(world: World, document: dict[str, Any], **columns: Any) -> str:
    loaded = parse(document)
    return await world.submit(document, **slot_columns(loaded.plan, "default", {}), **columns)


class Busy:
    """Work that notes how many do it at once."""

    def __init__(self) -> None:
        self.now = self.most = 0

    async def __call__(self, call: Any, item: Any) -> Any:
        self.now += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(0)
        self.now -= 1
        return await echo(call, item)


async def test_the_next_run_starts_when_the_one_before_it_ends_not_when_somebody_looks(world: World) -> None:
    await world.host(Hands())
    began = asyncio.get_running_loop().time()
    runs = [await submit(world, NARROW) for _ in range(20)]
    world.hosts[0].nudge(runs)
    for run_id in runs:
        assert (await world.end(run_id)).status == "succeeded"
    assert asyncio.get_running_loop().time() - began < 19 * POLL_SECONDS, "each would have waited for a look around"


async def test_child_runs_of_a_map_take_turns(world: World) -> None:
    busy = Busy()
    await world.publish(NARROW)
    await world.host(Hands(busy))
    assert (await world.end(await world.submit(CALLER))).status == "succeeded"
    assert busy.most == 1
    assert await fsck(world.store) == []


async def test_children_that_are_refused_are_tried_again(world: World) -> None:
    await world.publish({**NARROW, "concurrency": {"limit": 1, "on_limit": "reject"}})
    await world.host(Hands())
    step = {"workflow": {"name": "narrow"}, "map": {"over": "[1, 2]"}, "retry": {"initial": "10ms", "max_attempts": 50}}
    assert (await world.end(await world.submit({"name": "caller", "steps": {"each": step}}))).status == "succeeded"


async def test_children_that_are_refused_fail_their_step_with_the_reason(world: World) -> None:
    await world.publish({**NARROW, "concurrency": {"limit": 1, "on_limit": "reject"}})
    await submit(world, {**NARROW, "concurrency": {"limit": 1, "on_limit": "reject"}}, isolation="dedicated")
    await world.host(Hands(), neighbours=Told())  # one of many: it leaves the dedicated run alone, which keeps the slot
    step = {"workflow": {"name": "narrow"}, "retry": {"max_attempts": 1}}
    row = await world.end(await world.submit({"name": "caller", "steps": {"call": step}}))
    assert row.error is not None
    assert row.error["details"]["error"]["code"] == "concurrency_limit"


async def test_a_canceled_child_that_waits_does_no_work(world: World) -> None:
    gate = asyncio.Event()

    async def work(call: Any, item: Any) -> Any:
        await gate.wait()
        return item

    hands = Hands(work)
    await world.publish(NARROW)
    await world.host(hands)
    parent = await world.submit(CALLER)
    async with asyncio.timeout(20):
        while len(hands.asked) < 1:  # noqa: ASYNC110 - the condition is in the executor
            await asyncio.sleep(0.01)
    assert await world.send(parent, MessageKind.CANCEL) is SendOutcome.ACCEPTED
    world.hosts[0].nudge([parent])
    assert (await world.end(parent)).status == "canceled"
    gate.set()
    async with asyncio.timeout(20):
        while await world.store.journal.active_runs():  # noqa: ASYNC110 - the condition is in the database
            await asyncio.sleep(0.01)
    assert len(hands.asked) == 1, "only the one with the slot has ever worked"
    assert await fsck(world.store) == []


async def test_a_dead_owner_takes_no_slot_with_it(world: World) -> None:
    stuck = asyncio.Event()

    async def never(call: Any, item: Any) -> Any:
        stuck.set()
        await asyncio.Event().wait()

    dead = await world.host(Hands(never))
    runs = [await submit(world, NARROW) for _ in range(2)]
    dead.nudge(runs)
    await stuck.wait()
    for task in dead._tasks:
        task.cancel()  # as if killed: nothing is handed over
    await world.host(Hands())
    for run_id in runs:
        assert (await world.end(run_id)).status == "succeeded"
    assert await fsck(world.store) == []
