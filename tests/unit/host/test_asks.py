"""Agents whose calls wait, with a real store: the question is a row, the run of a workflow is started once, and any owner may die at any time."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from runtime.host import Host
from runtime.steps.protocol import StepCall, StepResult
from runtime.store.fsck import fsck
from runtime.store.protocol import Append, AppendOutcome, ApprovalQuery, ApprovalRow, MessageKind, RunQuery, RunRow
from tests.unit.host.world import Hands, World, a_world, flow

FORM = {"type": "object", "properties": {"args": {"type": "object"}}}
PAY = {"for": "approval", "call": "pay c1 1", "tool": "pay", "message": "pay 3?", "show": {"tool": "pay", "args": {"n": 3}}, "form": FORM}
CHILD = {
    "name": "other",
    "description": "Adds one.",
    "inputs": {"n": {"type": "integer"}},
    "steps": {"c": {"set": {"n": "${{ inputs.n + 1 }}"}}},
    "outputs": {"n": "steps.c.output.n"},
}
AGENT: dict[str, Any] = {"agent": {"prompt": "p", "tools": [{"workflow": "other"}]}}


class Agents(Hands):
    """Agents that want a person and a workflow before they answer with what they were answered."""

    def __init__(self, **more: Any) -> None:
        """`more`: what else their question to a person says."""
        super().__init__()
        self.calls: list[StepCall] = []
        self._more = more

    async def _one(self, call: StepCall, item: Any) -> StepResult:
        attempt, index = (call.attempt, None) if item is None else (item.attempt, item.index)
        self.calls.append(call)
        (offer,) = call.workflows
        run = {"for": "child", "call": "other c2 1 run", "tool": "other", "workflow": "other", "version": offer["version"], "inputs": {"n": 41}}
        known = {each["id"]: each["result"] for each in call.calls if each["name"] == "answer" and each["index"] == index}
        asks = tuple(ask for ask in (PAY | self._more, run) if ask["call"] not in known)
        output = None if asks else known
        return StepResult(call.run_id, call.epoch, call.step, attempt, call.iteration, index, output, asks=asks)


@pytest_asyncio.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with a_world(tmp_path) as world:
        await world.publish(CHILD)
        yield world


async def questions(world: World, run_id: str, count: int = 1) -> list[ApprovalRow]:
    """The questions of the run, newest first, once there are as many."""
    wanted = ApprovalQuery("default", run_id=run_id, pending=False)
    async with asyncio.timeout(20):
        while len(found := await world.store.journal.approvals(wanted)) < count:  # noqa: ASYNC110 - the rows are in the database
            await asyncio.sleep(0.01)
    return found


async def children(world: World, run_id: str) -> list[RunRow]:
    return [row for row in await world.store.journal.runs(RunQuery("default", limit=1000)) if row.parent_run == run_id]


async def test_a_question_is_a_row_and_a_waiting_run_is_nobodys(world: World) -> None:
    hands = Agents()
    host = await world.host(hands)
    run_id = await world.submit(flow(a=AGENT))
    host.nudge([run_id])
    (asked,) = await questions(world, run_id)
    assert (asked.step, asked.message, asked.show, asked.form) == ("a", "pay 3?", PAY["show"], FORM)
    row = await world.until(run_id, lambda row: row.status == "waiting" and row.owner is None and row.waiting_for == "approval")
    (child,) = await children(world, run_id)
    assert (await world.end(child.run_id)).result == {"n": 42}
    await world.send(run_id, MessageKind.APPROVAL, approval_id=asked.approval_id, approved=True, by="ann", form={"args": {"n": 2}})
    host.nudge([run_id])
    row = await world.end(run_id)
    assert row.result == {"a": {PAY["call"]: {"approved": True, "by": "ann", "form": {"args": {"n": 2}}}, "other c2 1 run": {"output": {"n": 42}}}}
    assert [call.attempt for call in hands.calls] == [1, 2]
    assert hands.calls[0].workflows[0]["inputs"] == CHILD["inputs"]
    settled = await world.store.journal.approval(asked.approval_id)
    assert settled is not None
    assert (settled.decision or {})["by"] == "ann"
    assert list(await fsck(world.store)) == []


async def test_a_question_nobody_answers_in_time_is_rejected(tmp_path: Path) -> None:
    async with a_world(tmp_path, passivate_after_ms=50) as world:
        await world.publish(CHILD)
        host = await world.host(Agents(expires=500))
        run_id = await world.submit(flow(a=AGENT))
        host.nudge([run_id])
        row = await world.end(run_id)
        assert row.result["a"][PAY["call"]] == {"approved": False, "by": "expiry"}
        (asked,) = await questions(world, run_id)
        assert (asked.decision or {}, asked.expires_at) == ({"approved": False, "by": "expiry"}, asked.requested_at + 500)


async def test_every_item_asks_for_itself(world: World) -> None:
    host = await world.host(Agents())
    run_id = await world.submit(flow(a={**AGENT, "map": {"over": "[1, 2, 3]"}}))
    host.nudge([run_id])
    asked = await questions(world, run_id, 3)
    assert sorted(row.show["index"] for row in asked) == [0, 1, 2]
    for row in asked:
        await world.send(run_id, MessageKind.APPROVAL, approval_id=row.approval_id, approved=row.show["index"] != 1)
    host.nudge([run_id])
    row = await world.end(run_id)
    assert [item[PAY["call"]]["approved"] for item in row.result["a"]] == [True, False, True]
    assert len(await children(world, run_id)) == 3


async def test_every_round_of_a_loop_asks_again(world: World) -> None:
    host = await world.host(Agents())
    run_id = await world.submit(flow(a={**AGENT, "loop": {"max_iterations": 2}}))
    host.nudge([run_id])
    for count in (1, 2):
        newest = (await questions(world, run_id, count))[0]
        assert newest.step == f"a#{count - 1}"
        await world.send(run_id, MessageKind.APPROVAL, approval_id=newest.approval_id, approved=True)
        host.nudge([run_id])
    assert (await world.end(run_id)).status == "succeeded"
    assert len(await children(world, run_id)) == 2


async def test_a_cancel_settles_the_question_and_ends_the_child(world: World) -> None:
    await world.publish({**CHILD, "steps": {"c": {"wait": {"for": "1h"}}}, "outputs": {}})
    host = await world.host(Agents())
    run_id = await world.submit(flow(a=AGENT))
    host.nudge([run_id])
    (asked,) = await questions(world, run_id)
    await world.send(run_id, MessageKind.CANCEL)
    host.nudge([run_id])
    assert (await world.end(run_id)).status == "canceled"
    (child,) = await children(world, run_id)
    assert (await world.end(child.run_id)).status == "canceled"
    settled = await world.store.journal.approval(asked.approval_id)
    assert settled is not None
    assert (settled.decision or {}) == {"approved": False, "by": "canceled"}


async def test_a_workflow_that_refuses_its_inputs_is_an_answer(world: World) -> None:
    await world.publish({**CHILD, "inputs": {"n": {"type": "string"}}, "steps": {"c": {"set": {"n": "${{ inputs.n }}"}}}})
    host = await world.host(Agents())
    run_id = await world.submit(flow(a=AGENT))
    host.nudge([run_id])
    (asked,) = await questions(world, run_id)
    await world.send(run_id, MessageKind.APPROVAL, approval_id=asked.approval_id, approved=True)
    host.nudge([run_id])
    answer = (await world.end(run_id)).result["a"]["other c2 1 run"]
    assert "the inputs do not fit: /n" in answer["error"]["message"]
    assert await children(world, run_id) == []


async def dies_after(host: Host, commits: int, run_id: list[str]) -> asyncio.Event:
    """Have this host die at once after so many commits to a run, before it has done anything about the last of them."""
    dead, append, seen = asyncio.Event(), host._turns._journal.append, [0]

    class Journal:
        def __getattr__(self, name: str) -> Any:
            return getattr(host._journal, name)

        async def append(self, what: Append) -> AppendOutcome:
            outcome = await append(what)
            seen[0] += what.run_id in run_id
            if seen[0] == commits and not dead.is_set():
                await host._close()  # as a kill would: no hand-over, the owner's row stays
                dead.set()
                raise asyncio.CancelledError
            return outcome

    host._turns._journal = Journal()  # type: ignore[assignment]
    return dead


@pytest.mark.timeout(240)
async def test_an_owner_may_die_after_any_commit(world: World) -> None:
    """Each time the next owner goes on, nobody is asked twice, and the workflow is run once."""
    died = 0
    for commits in range(1, 20):
        mine: list[str] = []
        host = await world.host(Agents())
        dead = await dies_after(host, commits, mine)
        run_id = await world.submit(flow(a=AGENT))
        mine.append(run_id)
        host.nudge([run_id])
        answering = asyncio.create_task(_answer(world, run_id))
        ending = asyncio.create_task(world.end(run_id))
        waiting = asyncio.create_task(dead.wait())
        await asyncio.wait({ending, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if dead.is_set():
            died += 1
            after = await world.host(Agents())
            after.owner_died(host.owner)
            await ending
            await after.stop(0)
        await answering
        waiting.cancel()
        await host.stop(0)
        row = await world.row(run_id)
        assert row.status == "succeeded"
        assert len(await children(world, run_id)) == 1
        assert len(await questions(world, run_id)) == 1
        if not dead.is_set():
            break
    assert died >= 3
    assert list(await fsck(world.store)) == []


async def _answer(world: World, run_id: str) -> None:
    (asked,) = await questions(world, run_id)
    await world.send(run_id, MessageKind.APPROVAL, approval_id=asked.approval_id, approved=True)


async def test_a_paused_run_hears_the_answer_and_goes_on_when_it_is_resumed(world: World) -> None:
    host = await world.host(Agents())
    run_id = await world.submit(flow(a=AGENT))
    host.nudge([run_id])
    (asked,) = await questions(world, run_id)
    await world.send(run_id, MessageKind.PAUSE)
    host.nudge([run_id])
    await world.until(run_id, lambda row: row.status == "paused")
    await world.send(run_id, MessageKind.APPROVAL, approval_id=asked.approval_id, approved=True)
    host.nudge([run_id])
    async with asyncio.timeout(20):
        while "call.answered" not in await world.kinds(run_id):  # noqa: ASYNC110 - the journal is in the database
            await asyncio.sleep(0.01)
    assert (await world.row(run_id)).status == "paused"
    await world.send(run_id, MessageKind.RESUME)
    host.nudge([run_id])
    assert (await world.end(run_id)).status == "succeeded"
