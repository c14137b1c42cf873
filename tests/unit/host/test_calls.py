"""Model and tool calls inside steps, on their way into the journal: none is lost, none is left waiting, none comes behind the end of its step."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from runtime.steps.protocol import StepCall, StepResult
from runtime.store.fsck import fsck
from runtime.store.protocol import AppendOutcome
from tests.unit.host.world import Hands, World, a_world, flow, python


@pytest_asyncio.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with a_world(tmp_path) as world:
        yield world


async def test_a_finished_call_inside_a_step_is_journalled_and_given_to_the_next_attempt(world: World) -> None:
    seen: list[tuple[dict[str, Any], ...]] = []
    recorded = asyncio.Event()

    async def work(call: Any, item: Any) -> Any:
        seen.append(call.calls)
        if call.attempt == 1:
            assert await host.record(call.run_id, call.epoch, call.step_key, {"name": "model", "n": 0, "result": "paid"})
            recorded.set()
            raise ValueError("after the call")
        return "ok"

    host = await world.host(Hands(work))
    run_id = await world.submit(flow(a=python(retry={"initial": "10ms"})))
    host.nudge([run_id])
    await recorded.wait()
    assert (await world.end(run_id)).status == "succeeded"
    assert "call.finished" in await world.kinds(run_id)
    assert [len(calls) for calls in seen] == [0, 1]


class PaidHands(Hands):
    """Their results bring the call they were paid with."""

    async def _one(self, call: StepCall, item: Any) -> StepResult:
        result = await super()._one(call, item)
        return replace(result, calls=({"name": "model", "n": 1, "result": result.output, "index": result.index},))


async def test_the_last_call_is_journalled_with_the_result_it_came_with(world: World) -> None:
    host = await world.host(PaidHands())
    run_id = await world.submit(flow(each=python(map={"over": "[5, 6, 7]"}), then=python(needs=["each"])))
    host.nudge([run_id])
    assert (await world.end(run_id)).status == "succeeded"
    kinds = await world.kinds(run_id)
    assert kinds.count("call.finished") == 4
    assert kinds.index("call.finished") < kinds.index("items.finished")
    assert [kind for kind in kinds if kind in {"call.finished", "step.succeeded"}][-2:] == ["call.finished", "step.succeeded"]
    assert list(await fsck(world.store)) == []


async def test_a_call_that_finishes_after_its_step_was_canceled_is_not_journalled(world: World) -> None:
    gate, recorded = asyncio.Event(), asyncio.Event()

    async def work(call: Any, item: Any) -> Any:
        if call.step == "fails":
            raise ValueError("no")
        if call.step == "asks":  # fails cannot stop it: nobody tells these hands to stop
            await gate.wait()
            assert await host.record(call.run_id, call.epoch, call.step_key, {"name": "model", "n": 1, "result": "paid"})
            recorded.set()
        if call.step == "last":
            gate.set()
            await recorded.wait()
        return "ok"

    host = await world.host(Hands(work))
    document = flow(asks=python(), fails=python(retry={"max_attempts": 1}))
    run_id = await world.submit({**document, "finally": {"last": python()}})
    host.nudge([run_id])
    assert (await world.end(run_id)).status == "failed"
    kinds = await world.kinds(run_id)
    assert "step.canceled" in kinds
    assert "call.finished" not in kinds
    assert list(await fsck(world.store)) == []


async def test_a_canceled_caller_does_not_break_the_turn_that_records_its_call(world: World) -> None:
    async def work(call: Any, item: Any) -> Any:
        body = {"name": "model", "n": 0, "result": "paid"}
        recording = asyncio.ensure_future(host.record(call.run_id, call.epoch, call.step_key, body))
        await asyncio.sleep(0)  # it has asked, and the turn that will answer has not been committed
        recording.cancel()
        return "ok"

    host = await world.host(Hands(work))
    run_id = await world.submit(flow(a=python(), b=python(needs=["a"])))
    host.nudge([run_id])
    assert (await world.end(run_id)).status == "succeeded"


@pytest.mark.parametrize("written", [True, False])
async def test_a_finished_call_waits_until_the_database_is_back(world: World, written: bool) -> None:
    """The turn that records it fails, and the run is read anew: whoever recorded it learns of the commit, and is not left alone."""
    from runtime.errors import StoreUnavailable

    recorded: list[bool] = []
    told = asyncio.Event()

    async def work(call: Any, item: Any) -> Any:
        if call.attempt == 1:
            recorded.append(await host.record(call.run_id, call.epoch, call.step_key, {"name": "model", "n": 1, "result": "paid"}))
            told.set()
        await told.wait()  # the second attempt joins the first one, as an AgentActor lets it
        return "ok"

    host = await world.host(Hands(work))
    append, failures = host._turns._journal.append, [1]

    async def failing(what: Any) -> AppendOutcome:
        if failures and any(event.kind == "call.finished" for event in what.events):
            failures.pop()
            if written:
                await append(what)
            raise StoreUnavailable("the disk is full")
        return await append(what)

    host._turns._journal.append = failing  # type: ignore[method-assign]
    run_id = await world.submit(flow(a=python()))
    host.nudge([run_id])
    assert (await world.end(run_id)).status == "succeeded"
    host._turns._journal.append = append  # type: ignore[method-assign]
    assert (failures, recorded) == ([], [True])
    assert "call.finished" in await world.kinds(run_id)
