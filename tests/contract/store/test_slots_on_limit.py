"""What becomes of a run that meets the limit of concurrency when it shall not simply wait, and of child runs."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from runtime.engine.events import Kind
from runtime.engine.states import RunStatus
from runtime.errors import ConcurrencyLimit
from runtime.store.fsck import fsck
from runtime.store.open import Store
from runtime.store.protocol import MessageKind, RunQuery, SendOutcome
from tests.contract.store.desk import TENANT, Desk, key, new_run
from tests.contract.store.lined_up import append_children, child_of, holding, limits, start


async def test_reject_refuses_and_leaves_nothing(desk: Desk):
    first = await desk.submit(**limits(1, on_limit="reject"))
    refused = replace(new_run(**limits(1, on_limit="reject"), labels={"a": "b"}), idempotency=key("k"))
    with pytest.raises(ConcurrencyLimit) as failure:
        await desk.journal.submit([refused])
    assert failure.value.retry_after == 5
    assert await desk.journal.run(refused.row.run_id) is None
    assert await desk.journal.events(refused.row.run_id) == []
    await (await start(desk, first)).end()
    again = replace(new_run(**limits(1, on_limit="reject")), idempotency=key("k", "another payload"))
    (submitted,) = await desk.journal.submit([again])
    assert submitted.created, "the key was given back"
    assert await fsck(desk.store) == []


async def test_a_batch_is_refused_as_a_whole_and_its_neighbours_are_not(desk: Desk):
    batch = [new_run(**limits(2, on_limit="reject")) for _ in range(3)] + [new_run()]
    small, free = new_run(**limits(2, on_limit="reject")), new_run()
    outcomes = await asyncio.gather(*(desk.journal.submit(runs) for runs in (batch, [small], [free])), return_exceptions=True)
    assert isinstance(outcomes[0], ConcurrencyLimit)
    assert [one.created for (one,) in outcomes[1:]] == [True, True]
    assert [row.run_id for row in await desk.journal.runs(RunQuery(TENANT))] == sorted([small.row.run_id, free.row.run_id], reverse=True)
    assert await holding(desk, small.row.run_id) == [small.row.run_id]


async def test_many_with_one_key_are_all_refused_when_the_first_is(desk: Desk, second: Store):
    await desk.submit(**limits(1, on_limit="reject"))
    journals = [desk.journal, second.journal]
    tries = [journals[n % 2].submit([new_run(key=key("k"), **limits(1, on_limit="reject"))]) for n in range(20)]
    assert all(isinstance(outcome, ConcurrencyLimit) for outcome in await asyncio.gather(*tries, return_exceptions=True))
    assert await desk.journal.active_runs() == 1
    assert await fsck(desk.store) == []


async def test_cancel_new_ends_the_new_run_at_once(desk: Desk):
    await desk.submit(**limits(1, on_limit="cancel_new"))
    run = new_run(**limits(1, on_limit="cancel_new"))
    (submitted,) = await desk.journal.submit([run])
    assert (submitted.created, submitted.waiting) == (True, True)
    row = await desk.run(run.row.run_id)
    assert (row.status, row.ended_at, row.head, row.slot_held) == (RunStatus.CANCELED, row.created_at, 2, False)
    events = await desk.journal.events(run.row.run_id)
    assert [event.kind for event in events] == [Kind.RUN_CREATED, Kind.RUN_CANCELED]
    assert "limit of concurrency" in (events[-1].body or {})["reason"]
    assert await fsck(desk.store) == []


async def test_cancel_old_cancels_the_oldest_and_waits_for_its_end(desk: Desk):
    heard: list[str] = []
    desk.journal.on_news(heard.extend)
    old = [await desk.submit(**limits(2, on_limit="cancel_old")) for _ in range(2)]
    hands = [await start(desk, run_id) for run_id in old]
    new = await desk.submit(**limits(2, on_limit="cancel_old"))
    assert [(await desk.run(run_id)).cancel_requested_at is not None for run_id in old] == [True, False]
    assert [message.kind for message in await desk.journal.inbox("host-1")] == [MessageKind.CANCEL]
    assert heard == [old[0]]
    assert await holding(desk, *old, new) == old, "until it has ended"
    await hands[0].append((Kind.RUN_CANCELING, {}), status=RunStatus.CANCELING)
    await hands[0].end(Kind.RUN_CANCELED)
    assert await holding(desk, *old, new) == [old[1], new]


async def test_cancel_old_ends_what_has_not_started_on_the_spot(desk: Desk):
    old = await desk.submit(**limits(1, on_limit="cancel_old"))
    new = await desk.submit(**limits(1, on_limit="cancel_old"))
    assert (await desk.run(old)).status is RunStatus.CANCELED
    assert await holding(desk, old, new) == [new]
    assert await fsck(desk.store) == []


async def test_of_many_that_replace_each_other_the_last_one_stays(desk: Desk):
    running = await start(desk, await desk.submit(**limits(1, on_limit="cancel_old")))
    runs = [new_run(**limits(1, on_limit="cancel_old")) for _ in range(4)]
    await desk.journal.submit(runs[:3])
    await desk.journal.submit(runs[3:])
    ids = [run.row.run_id for run in runs]
    assert [(await desk.run(run_id)).status for run_id in ids] == [RunStatus.CANCELED] * 3 + [RunStatus.QUEUED]
    await running.append((Kind.RUN_CANCELING, {}), status=RunStatus.CANCELING)
    await running.end(Kind.RUN_CANCELED)
    assert await holding(desk, *ids) == ids[3:]
    assert await fsck(desk.store) == []


async def test_of_many_that_come_together_the_last_one_gets_the_slot(desk: Desk):
    runs = [new_run(**limits(1, on_limit="cancel_old")) for _ in range(3)]
    await desk.journal.submit(runs)
    ids = [run.row.run_id for run in runs]
    assert await holding(desk, *ids) == ids[2:]
    assert [(await desk.run(run_id)).status.ended for run_id in ids] == [True, True, False]


async def test_cancel_old_cancels_within_the_key_that_is_full(desk: Desk):
    def fields(k: str) -> dict[str, Any]:
        return limits(10, per_key=1, k=k, on_limit="cancel_old")

    other, old = await desk.submit(**fields("a")), await desk.submit(**fields("b"))
    new = await desk.submit(**fields("b"))
    assert await holding(desk, other, old, new) == [other, new]


# --- child runs ------------------------------------------------------------------------------------------------------


async def test_children_wait_for_slots_too(desk: Desk):
    parent = await desk.hold()
    children = [child_of(parent, **limits(1)) for _ in range(2)]
    await append_children(parent, children)
    ids = [child.row.run_id for child in children]
    assert await holding(desk, *ids) == ids[:1]
    await (await start(desk, ids[0])).end()
    assert await holding(desk, *ids) == ids[1:]


@pytest.mark.parametrize(("on_limit", "status", "retryable"), [("reject", "failed", True), ("cancel_new", "canceled", False)])
async def test_a_child_that_is_not_let_in_has_ended_for_its_parent(desk: Desk, on_limit: str, status: str, retryable: bool):
    heard: list[str] = []
    desk.journal.on_news(heard.extend)
    await desk.submit(**limits(1, on_limit=on_limit))
    parent = await desk.hold()
    child = child_of(parent, **limits(1, on_limit=on_limit))
    await append_children(parent, [child], status=RunStatus.RUNNING, release=True)
    row = await desk.run(parent.run_id)
    assert (row.owner, row.wake_at) == (None, child.row.created_at), "the parent has mail"
    assert heard == [parent.run_id]
    await desk.claim("host-1", parent.run_id)
    (letter,) = [message for message in await desk.journal.inbox("host-1") if message.run_id == parent.run_id]
    error = {"code": "concurrency_limit", "message": "the workflow's limit of concurrency is reached", "retryable": retryable}
    assert letter.body == {"run_id": child.row.run_id, "step": "call", "index": 3, "status": status, "output": None, "error": error}
    assert (letter.kind, letter.message_id) == (MessageKind.CHILD, f"child:{child.row.run_id}")
    assert (await desk.journal.run(child.row.run_id) is None) == (on_limit == "reject")
    assert await fsck(desk.store) == []


async def test_a_canceled_child_that_waits_is_claimed_to_be_ended_and_has_no_slot(desk: Desk):
    await desk.submit(**limits(1))
    parent = await desk.hold()
    child = child_of(parent, **limits(1))
    await append_children(parent, [child])
    assert await desk.send(child.row.run_id, MessageKind.CANCEL) is SendOutcome.ACCEPTED
    (claim,) = await desk.claim("host-1", child.row.run_id)
    assert (claim.row.slot_held, claim.row.cancel_requested_at is not None) == (False, True)
    assert await fsck(desk.store) == []
