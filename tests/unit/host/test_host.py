"""The host: one owner per run, nothing lost when owners change, nothing shown before it is committed."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from runtime.errors import StoreUnavailable
from runtime.host.intake import POLL_SECONDS
from runtime.ids import uuid7
from runtime.store.protocol import AppendOutcome, MessageKind, SendOutcome
from tests.unit.host.world import Hands, Told, World, a_world, flow, python


@pytest_asyncio.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with a_world(tmp_path) as world:
        yield world


class Gate:
    """Work that waits until it is let through."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.open = asyncio.Event()

    async def __call__(self, call: Any, item: Any) -> Any:
        self.entered.set()
        await self.open.wait()
        return "through"


async def test_a_run_ends_with_two_appends_after_its_claim(world: World) -> None:
    host = await world.host(Hands())
    run_id = await world.submit(flow(a=python()))
    host.nudge([run_id])
    row = await world.end(run_id)
    assert (row.status, row.result, row.owner) == ("succeeded", {"a": "a"}, None)
    assert await world.kinds(run_id) == ["run.created", "run.claimed", "run.started", "step.started", "step.succeeded", "run.succeeded"]


async def test_a_lost_nudge_only_costs_time(world: World) -> None:
    await world.host(Hands())
    assert (await world.end(await world.submit(flow(a=python())))).status == "succeeded"


async def test_an_owner_that_cannot_see_the_others_goes_on_beating(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    never = asyncio.Event()

    async def hanging() -> Any:
        await never.wait()

    host = await world.host(Hands())
    look = world.store.journal.owners
    monkeypatch.setattr(world.store.journal, "owners", hanging)
    seen = set()
    async with asyncio.timeout(20):
        while len(seen) < 4:
            seen |= {row.beat for row in await look() if row.owner == host.owner}
            await asyncio.sleep(0.01)


async def test_a_beat_that_cannot_be_written_is_not_followed_by_a_pause(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    host = await world.host(Hands())
    beat, tries, beaten = world.store.journal.beat, [], asyncio.Event()

    async def breaking(owner: str, *, draining: bool) -> bool:
        tries.append(asyncio.get_running_loop().time())
        if len(tries) % 2:
            raise StoreUnavailable("cut off")
        beaten.set()
        return await beat(owner, draining=draining)

    monkeypatch.setattr(world.store.journal, "beat", breaking)
    monkeypatch.setattr("runtime.host.host.POLL_SECONDS", 3600)  # what other loops pause for
    await asyncio.wait_for(beaten.wait(), 20)
    assert not host._closed.is_set()


async def test_a_dead_owner_is_replaced_and_its_step_runs_again_as_the_next_attempt(world: World) -> None:
    gate, second = Gate(), Hands()
    first = await world.host(Hands(gate))
    run_id = await world.submit(flow(before=python(), stuck=python(needs=["before"])))
    gate.open.set()
    first.nudge([run_id])
    await world.end(run_id)
    gate.open.clear()
    gate.entered.clear()
    run_id = await world.submit(flow(stuck=python()))
    first.nudge([run_id])
    await gate.entered.wait()
    await first._close()  # as a kill would: no hand-over, the owner's row stays
    await world.host(second)
    row = await world.end(run_id)
    assert row.status == "succeeded"
    assert second.asked == [("stuck", 2, None)]
    assert (await world.kinds(run_id)).count("run.claimed") == 2


async def test_finished_steps_are_not_executed_again_after_a_takeover(world: World) -> None:
    entered = asyncio.Event()

    async def work(call: Any, item: Any) -> Any:
        if call.step == "second":
            entered.set()
            await asyncio.Event().wait()
        return "done once"

    first = await world.host(Hands(work))
    run_id = await world.submit(flow(first=python(), second=python(needs=["first"])))
    first.nudge([run_id])
    await entered.wait()
    await first._close()
    second = Hands()
    await world.host(second)
    assert (await world.end(run_id)).status == "succeeded"
    assert second.asked == [("second", 2, None)]


async def test_an_owner_declared_dead_by_mistake_is_fenced(world: World) -> None:
    gate = Gate()
    first = await world.host(Hands(gate))
    run_id = await world.submit(flow(a=python()))
    first.nudge([run_id])
    await gate.entered.wait()
    second = await world.host(Hands())
    second.owner_died(first.owner)
    assert (await world.end(run_id)).result == {"a": "a"}
    gate.open.set()
    await asyncio.wait_for(first.wait_closed(), 10)
    assert (await world.kinds(run_id)).count("step.succeeded") == 1


async def test_an_accepted_cancel_wins_against_a_result_already_on_its_way(world: World) -> None:
    gate = Gate()
    host = await world.host(Hands(gate))
    run_id = await world.submit(flow(a=python()))
    host.nudge([run_id])
    await gate.entered.wait()
    assert await world.send(run_id, MessageKind.CANCEL) is SendOutcome.ACCEPTED
    gate.open.set()
    assert (await world.end(run_id)).status == "canceled"
    assert await world.send(run_id, MessageKind.CANCEL) is SendOutcome.ENDED


async def test_cancel_stops_what_is_in_flight(world: World) -> None:
    hands = Hands(Gate())
    host = await world.host(hands)
    run_id = await world.submit(flow(a=python()))
    host.nudge([run_id])
    await world.until(run_id, lambda row: row.status == "running")
    await world.send(run_id, MessageKind.CANCEL)
    host.nudge([run_id])
    assert (await world.end(run_id)).status == "canceled"
    async with asyncio.timeout(10):
        while not hands.stopped:  # noqa: ASYNC110 - it is told a moment after the commit that ends the run
            await asyncio.sleep(0.001)
    assert hands.stopped == [(run_id, "a")]


async def test_drain_waits_for_a_step_in_flight_and_hands_the_run_over(world: World) -> None:
    gate, others = Gate(), Told()
    first = await world.host(Hands(gate), neighbours=others)
    run_id = await world.submit(flow(a=python(), b=python(needs=["a"])))
    first.nudge([run_id])
    await gate.entered.wait()
    stopping = asyncio.create_task(first.stop(10_000))
    await asyncio.sleep(0)
    gate.open.set()
    await stopping
    assert others.offered == [run_id]
    row = await world.row(run_id)
    assert (row.owner, row.status) == (None, "running")
    assert (await world.kinds(run_id))[-1] == "step.succeeded"
    second = Hands()
    await world.host(second)
    assert (await world.end(run_id)).status == "succeeded"
    assert second.asked == [("b", 1, None)]


async def test_drain_hands_over_what_does_not_end_in_time(world: World) -> None:
    gate, others = Gate(), Told()
    first = await world.host(Hands(gate), neighbours=others)
    run_id = await world.submit(flow(a=python()))
    first.nudge([run_id])
    await gate.entered.wait()
    await first.stop(50)
    assert others.offered == [run_id]
    assert (await world.row(run_id)).owner is None
    second = Hands()
    await world.host(second)
    assert (await world.end(run_id)).status == "succeeded"
    assert second.asked == [("a", 2, None)]


async def test_a_run_nobody_names_is_found_while_nudges_for_others_never_cease(world: World) -> None:
    host = await world.host(Hands())
    await asyncio.sleep(POLL_SECONDS / 2)  # its first look around is over
    run_id = await world.submit(flow(a=python()))

    async def nudge() -> None:
        while True:
            host.nudge([uuid7()])
            await asyncio.sleep(POLL_SECONDS / 10)

    nudging = asyncio.create_task(nudge())
    assert (await world.end(run_id)).status == "succeeded"
    nudging.cancel()


async def test_a_long_wait_gives_the_run_up_until_it_is_due(tmp_path: Path) -> None:
    async with a_world(tmp_path, passivate_after_ms=100) as world:
        host = await world.host(Hands())
        run_id = await world.submit(flow(pause={"wait": {"for": "1s"}}, a=python(needs=["pause"])))
        host.nudge([run_id])
        row = await world.until(run_id, lambda row: row.status == "waiting")
        assert (row.owner, row.waiting_for) == (None, "timer")
        assert row.wake_at is not None
        ended = await world.end(run_id)
        assert ended.status == "succeeded"
        assert ended.ended_at is not None
        assert ended.ended_at >= row.wake_at


async def test_a_short_wait_stays_in_memory(world: World) -> None:
    host = await world.host(Hands())
    run_id = await world.submit(flow(pause={"wait": {"for": "50ms"}}))
    host.nudge([run_id])
    await world.end(run_id)
    assert "run.waiting" not in await world.kinds(run_id)


async def test_approval_is_asked_materialised_and_applied_once(world: World) -> None:
    host = await world.host(Hands())
    run_id = await world.submit(flow(ask={"approval": {"message": "go?"}}))
    host.nudge([run_id])
    await world.until(run_id, lambda row: row.status == "waiting")
    events = await world.store.journal.events(run_id)
    approval_id = next(event.body["approval_id"] for event in events if event.kind == "approval.requested" and event.body)
    asked = await world.store.journal.approval(approval_id)
    assert asked is not None
    assert (asked.message, asked.decided_at) == ("go?", None)
    assert await world.send(run_id, MessageKind.APPROVAL, approval_id=approval_id, approved=True, by="ann") is SendOutcome.ACCEPTED
    assert await world.send(run_id, MessageKind.APPROVAL, approval_id=approval_id, approved=False) is SendOutcome.DECIDED
    host.nudge([run_id])
    row = await world.end(run_id)
    assert row.result["ask"]["by"] == "ann"
    settled = await world.store.journal.approval(approval_id)
    assert settled is not None
    assert settled.decision is not None
    assert settled.decision["approved"] is True


async def test_a_child_run_gives_its_output_to_the_parent(world: World) -> None:
    host = await world.host(Hands())
    await world.publish(
        {"name": "child", "inputs": {"n": {"type": "integer"}}, "steps": {"c": {"set": {"n": "${{ inputs.n + 1 }}"}}}, "outputs": {"n": "steps.c.output.n"}}
    )
    run_id = await world.submit(flow(call={"workflow": {"name": "child", "inputs": {"n": 41}}}))
    host.nudge([run_id])
    assert (await world.end(run_id)).result == {"call": {"n": 42}}


async def test_a_child_that_cannot_be_started_fails_its_step(world: World) -> None:
    host = await world.host(Hands())
    run_id = await world.submit(flow(call={"workflow": {"name": "nowhere"}}))
    host.nudge([run_id])
    row = await world.end(run_id)
    assert row.status == "failed"
    assert row.error is not None
    assert row.error["code"] == "child_failed"
    assert "nowhere" in row.error["message"]


async def test_a_map_over_child_runs(world: World) -> None:
    host = await world.host(Hands())
    await world.publish(
        {"name": "child", "inputs": {"n": {"type": "integer"}}, "steps": {"c": {"set": {"n": "${{ inputs.n * 2 }}"}}}, "outputs": {"n": "steps.c.output.n"}}
    )
    document = {
        "name": "parent",
        "inputs": {"ns": {"type": "array"}},
        "steps": {"all": {"workflow": {"name": "child", "inputs": {"n": "${{ item }}"}}, "map": {"over": "inputs.ns"}}},
    }
    run_id = await world.submit(document, {"ns": [1, 2, 3]})
    host.nudge([run_id])
    assert (await world.end(run_id)).result == {"all": [{"n": 2}, {"n": 4}, {"n": 6}]}


async def test_canceling_a_parent_cancels_its_child(world: World) -> None:
    host = await world.host(Hands(Gate()))
    await world.publish({"name": "child", "steps": {"c": python()}})
    run_id = await world.submit(flow(call={"workflow": {"name": "child"}}))
    host.nudge([run_id])
    await world.until(run_id, lambda row: row.status == "waiting")
    child = next(event.body["child"] for event in await world.store.journal.events(run_id) if event.body and "child" in event.body)
    await world.send(run_id, MessageKind.CANCEL)
    host.nudge([run_id])
    assert (await world.end(run_id)).status == "canceled"
    assert (await world.end(child)).status == "canceled"


async def test_values_too_large_for_the_journal_are_stored_and_brought_back(tmp_path: Path) -> None:
    async with a_world(tmp_path, passivate_after_ms=50) as world:
        host = await world.host(Hands())
        document = {
            "name": "large",
            "inputs": {"text": {"type": "string"}},
            "steps": {
                "copy": {"set": {"text": "${{ inputs.text + inputs.text }}"}},
                "pause": {"wait": {"for": "200ms"}, "needs": ["copy"]},
                "count": {"set": {"n": "${{ size(steps.copy.output.text) }}"}, "needs": ["pause"]},
            },
            "outputs": {"n": "steps.count.output.n"},
        }
        run_id = await world.submit(document, {"text": "x" * 40_000})
        host.nudge([run_id])
        assert (await world.end(run_id)).result == {"n": 80_000}
        copied = next(event for event in await world.store.journal.events(run_id) if event.step == "copy")
        assert copied.body is not None
        assert "$artifact" in copied.body["output"]


async def test_a_run_that_cannot_go_on_is_quarantined_and_its_neighbours_are_not(world: World) -> None:
    host = await world.host(Hands())
    broken = await world.submit(flow(a=python()), isolation="shared")
    good = await world.submit({**flow(b=python()), "name": "good"})

    async def no_plan(row: Any) -> Any:
        if row.run_id == broken:
            raise KeyError("gone")
        return await plan(row)

    plan, host._plans.of = host._plans.of, no_plan  # type: ignore[method-assign]
    host.nudge([broken, good])
    row = await world.end(broken)
    assert (row.status, row.error and row.error["code"]) == ("failed", "broken_run")
    assert (await world.end(good)).status == "succeeded"


async def test_watchers_hear_of_the_commit_not_before(world: World) -> None:
    gate = Gate()
    host = await world.host(Hands(gate))
    run_id = await world.submit(flow(a=python()))
    host.nudge([run_id])
    await gate.entered.wait()
    head = (await world.row(run_id)).head
    watching = asyncio.create_task(host.watch(run_id, head, 10))
    await asyncio.sleep(0)
    assert not watching.done()
    gate.open.set()
    await watching
    assert (await world.row(run_id)).head > head


async def test_a_dedicated_run_is_claimed_only_by_its_own_host(world: World) -> None:
    run_id = await world.submit(flow(a=python()), isolation="dedicated")
    other = await world.submit({**flow(b=python()), "name": "other"})
    shared, own = Hands(), Hands()
    await world.host(shared)
    await world.end(other)
    assert (await world.row(run_id)).status == "queued"
    await world.host(own, dedicated_to=run_id)
    await world.end(run_id)
    assert (shared.asked, own.asked) == ([("b", 1, None)], [("a", 1, None)])


@pytest.mark.parametrize("written", [True, False])
async def test_an_append_whose_outcome_is_unknown_is_read_again_not_guessed(world: World, written: bool) -> None:
    from runtime.errors import StoreUnavailable

    host = await world.host(Hands())
    append, failures = host._turns._journal.append, [1]

    async def failing(what: Any) -> AppendOutcome:
        if failures and any(event.kind == "run.succeeded" for event in what.events):
            failures.pop()
            if written:
                await append(what)
            raise StoreUnavailable("the connection broke")
        return await append(what)

    host._turns._journal.append = failing  # type: ignore[method-assign]
    run_id = await world.submit(flow(a=python()))
    host.nudge([run_id])
    assert (await world.end(run_id)).status == "succeeded"
    await world.kinds(run_id)
    host._turns._journal.append = append  # type: ignore[method-assign]
