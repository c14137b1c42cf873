"""Claim: every run has one owner, and nobody waits for a run that somebody else is taking."""

import asyncio

from runtime.engine.events import Kind
from runtime.engine.states import RunStatus
from runtime.store.open import Store
from tests.contract.store.desk import Desk, new_run, tick


async def test_a_claim_raises_the_epoch_and_is_an_event(desk: Desk):
    owner, run_id = await desk.owner(), await desk.submit()
    (claim,) = await desk.claim(owner)
    assert (claim.row.run_id, claim.row.epoch, claim.row.head, claim.row.owner) == (run_id, 1, 2, owner)
    assert claim.row == await desk.run(run_id)
    assert claim.row.status is RunStatus.QUEUED, "the first turn starts it"
    assert claim.events == tuple(await desk.journal.events(run_id))
    assert claim.events[-1].kind is Kind.RUN_CLAIMED
    assert claim.events[-1].body == {"owner": owner}


async def test_a_claimed_run_is_not_claimed_again(desk: Desk):
    await desk.owner()
    run_id = await desk.submit()
    assert len(await desk.claim()) == 1
    assert await desk.claim() == []
    assert await desk.claim("host-1", run_id) == []


async def test_the_most_urgent_and_then_the_longest_due_come_first(desk: Desk):
    await desk.owner()
    late, early = await desk.submit(wake_at=200), await desk.submit(wake_at=100)
    urgent = await desk.submit(priority=5, wake_at=300)
    assert [claim.row.run_id for claim in await desk.claim(limit=2)] == [urgent, early]
    assert [claim.row.run_id for claim in await desk.claim(limit=2)] == [late]


async def test_who_is_nearly_full_goes_round_the_workflows(desk: Desk):
    await desk.owner()
    await desk.journal.submit([new_run(workflow="burst") for _ in range(300)])
    lone = await desk.submit(workflow="lone")
    assert lone not in [claim.row.run_id for claim in await desk.claim(limit=20)], "the longest due come first"
    claims = await desk.journal.claim("host-1", 2, fair=True, now=tick())
    assert {claim.row.workflow for claim in claims} == {"burst", "lone"}
    assert lone in [claim.row.run_id for claim in claims]


async def test_a_place_at_a_time_comes_to_every_workflow(desk: Desk):
    await desk.owner()
    burst = [new_run(workflow="burst") for _ in range(80)]
    await desk.journal.submit(burst)
    await desk.submit(workflow="lone")
    order = [claim.row for _ in range(81) for claim in await desk.journal.claim("host-1", 1, fair=True, now=tick())]
    assert [row.workflow for row in order].index("lone") < 80, "by lot: once in 2 to the 80th this fails"
    assert [row.run_id for row in order if row.workflow == "burst"] == [run.row.run_id for run in burst]


async def test_priority_goes_before_fairness(desk: Desk):
    await desk.owner()
    lone = await desk.submit(workflow="lone")
    urgent = [await desk.submit(workflow="burst", priority=1) for _ in range(3)]
    claims = await desk.journal.claim("host-1", 3, fair=True, now=tick())
    assert {claim.row.run_id for claim in claims} == set(urgent)
    assert [claim.row.run_id for claim in await desk.journal.claim("host-1", 3, fair=True, now=tick())] == [lone]


async def test_sleepers_of_a_high_priority_do_not_hide_what_is_due(desk: Desk):
    await desk.owner()
    for _ in range(3):
        await desk.submit(priority=9, wake_at=1 << 50)
    due = await desk.submit(priority=-1)
    assert [claim.row.run_id for claim in await desk.claim(limit=1)] == [due]


async def test_a_run_is_not_claimed_before_its_time(desk: Desk):
    await desk.owner()
    run_id = await desk.submit(wake_at=1000)
    assert await desk.journal.claim("host-1", 10, now=999) == []
    assert await desk.journal.claim("host-1", 10, run_ids=[run_id], now=999) == []
    assert len(await desk.journal.claim("host-1", 10, now=1000)) == 1


async def test_only_named_runs_are_claimed_when_names_are_given(desk: Desk):
    await desk.owner()
    wanted, _other = await desk.submit(), await desk.submit()
    assert [claim.row.run_id for claim in await desk.claim("host-1", wanted, "no-such-run")] == [wanted]


async def test_a_dedicated_run_is_claimed_by_name_only(desk: Desk):
    await desk.owner()
    run_id = await desk.submit(isolation="dedicated")
    assert await desk.claim() == []
    assert len(await desk.claim("host-1", run_id)) == 1
    await desk.owner("host-2")
    assert await desk.claim("host-2", dead=["host-1"]) == []
    assert len(await desk.claim("host-2", run_id, dead=["host-1"])) == 1


async def test_who_takes_shared_runs_only_leaves_a_dedicated_one_alone_although_it_is_named(desk: Desk):
    await desk.owner()
    dedicated, shared = await desk.submit(isolation="dedicated"), await desk.submit()
    claims = await desk.journal.claim("host-1", 10, run_ids=[dedicated, shared], shared=True, now=1 << 50)
    assert [claim.row.run_id for claim in claims] == [shared]


async def test_runs_of_the_dead_are_taken_over(desk: Desk):
    hand = await desk.hold("host-1")
    await desk.owner("host-2")
    assert await desk.claim("host-2") == []
    (claim,) = await desk.claim("host-2", dead=["host-1"])
    assert (claim.row.owner, claim.row.epoch, claim.row.head) == ("host-2", 2, hand.head + 1)


async def test_who_is_not_registered_gets_nothing(desk: Desk):
    run_id = await desk.submit()
    assert await desk.claim("ghost", run_id) == []
    await desk.owner("ghost")
    assert len(await desk.claim("ghost", run_id)) == 1


async def test_a_long_journal_does_not_come_along(desk: Desk):
    hand = await desk.hold("host-1")
    await desk.owner("host-2")
    await desk.owner("host-3")
    await desk.append_calls(hand, 96)
    (claim,) = await desk.claim("host-2", hand.run_id, dead=["host-1"])
    assert claim.row.head == 100
    assert claim.events == tuple(await desk.journal.events(hand.run_id))
    (claim,) = await desk.claim("host-3", hand.run_id, dead=["host-2"])
    assert (claim.row.head, claim.events) == (101, None)


async def test_two_processes_share_the_runs_without_an_overlap(desk: Desk, second: Store):
    await desk.owner("a")
    await desk.owner("b")
    runs = [new_run() for _ in range(200)]
    await desk.journal.submit(runs)
    claims = await asyncio.gather(*(journal.claim(name, 10, now=1 << 50) for _ in range(15) for journal, name in ((desk.journal, "a"), (second.journal, "b"))))
    taken = [claim.row.run_id for batch in claims for claim in batch]
    assert len(taken) == len(set(taken)) == 200
    for run in runs:
        row = await desk.run(run.row.run_id)
        assert (row.epoch, row.head) == (1, 2)


async def test_two_processes_that_think_each_other_dead_leave_one_history(desk: Desk, second: Store):
    await desk.owner("a")
    await desk.owner("b")
    run_ids = [await desk.submit() for _ in range(5)]
    for _ in range(10):
        await asyncio.gather(
            desk.journal.claim("a", 10, run_ids=run_ids, dead=["b"], now=1 << 50), second.journal.claim("b", 10, run_ids=run_ids, dead=["a"], now=1 << 50)
        )
    for run_id in run_ids:
        events = await desk.journal.events(run_id)
        assert [event.seq for event in events] == list(range(1, len(events) + 1))
        assert [event.epoch for event in events] == list(range(len(events)))
        row = await desk.run(run_id)
        assert (row.epoch, row.head) == (len(events) - 1, len(events))
