"""Reads: pages, filters, and a damaged row that is noticed."""

import pytest
from sqlalchemy import update

from runtime.engine.events import Kind
from runtime.engine.states import RunStatus
from runtime.errors import JournalDamaged
from runtime.store.operations import Work
from runtime.store.protocol import MessageKind, RunQuery
from runtime.store.tables import events
from tests.contract.store.desk import TENANT, Desk


async def test_events_come_in_pages(desk: Desk):
    hand = await desk.hold()
    await desk.append_calls(hand, 20)
    seen = []
    while page := await desk.journal.events(hand.run_id, after=len(seen), limit=7):
        seen += page
    assert [event.seq for event in seen] == list(range(1, hand.head + 1))
    assert await desk.journal.events("no-such-run") == []
    assert await desk.journal.run("no-such-run") is None
    assert await desk.journal.approval("no-such-question") is None


@pytest.mark.parametrize("change", [{"body": '{"n":9}'}, {"kind": "run.started"}, {"kind": "what"}, {"at": 1}, {"step": "b"}, {"attempt": 3}, {"crc": 0}])
async def test_a_damaged_event_stops_its_run_and_no_other(desk: Desk, change: dict[str, object]):
    hand, other = await desk.hold(), await desk.hold()
    await desk.append_calls(hand, 3)
    damage = update(events).where(events.c.run_id == hand.run_id, events.c.seq == hand.head).values(change)
    await desk.store.writer.write(Work(lambda connection: connection.execute(damage) and None))
    with pytest.raises(JournalDamaged) as caught:
        await desk.journal.events(hand.run_id)
    assert caught.value.run_id == hand.run_id
    await desk.owner("host-2")
    claims = {claim.row.run_id: claim.events for claim in await desk.claim("host-2", dead=["host-1"])}
    assert claims[hand.run_id] is None
    assert claims[other.run_id] == tuple(await desk.journal.events(other.run_id))


async def test_runs_are_listed_newest_first_by_page_and_filter(desk: Desk):
    ids = [await desk.submit(labels={"n": str(n % 2), "all": "yes"}, workflow=f"w{n % 3}") for n in range(6)]
    foreign = await desk.submit(tenant="other")
    done = await desk.hold(parent_run=ids[0])
    await done.end()
    await desk.send(ids[5], MessageKind.CANCEL)

    async def listed(**query: object) -> list[str]:
        return [row.run_id for row in await desk.journal.runs(RunQuery(TENANT, **query))]  # type: ignore[arg-type]

    assert await listed() == [done.run_id, *reversed(ids)]
    assert await listed(limit=2) == [done.run_id, ids[5]]
    assert await listed(limit=2, before=ids[5]) == [ids[4], ids[3]]
    assert await listed(workflow="w1") == [ids[4], ids[1]]
    assert await listed(status=("queued",)) == list(reversed(ids[:5]))
    assert await listed(status=("canceled", "succeeded")) == [done.run_id, ids[5]]
    assert await listed(status=("canceled", "queued")) == list(reversed(ids))
    assert await listed(parent_run=ids[0]) == [done.run_id]
    assert await listed(labels={"n": "1"}) == [ids[5], ids[3], ids[1]]
    assert await listed(labels={"n": "1", "all": "no"}) == []
    created = [(await desk.run(run_id)).created_at for run_id in ids]
    assert await listed(created_after=created[1], created_before=created[3]) == [ids[2], ids[1]]
    assert foreign not in await listed()
    everywhere = [row.run_id for row in await desk.journal.runs(RunQuery(None, claimable_at=1 << 50))]
    assert everywhere == [foreign, *reversed(ids[:5])]
    assert await listed(owner="host-1") == []
    assert await listed(isolation="dedicated") == []
    held = await desk.hold(isolation="dedicated")
    assert await listed(owner="host-1", isolation="dedicated") == [held.run_id]
    await held.end()
    assert await desk.journal.active_runs() == 6


async def test_rows_equal_the_fold_of_their_journal(desk: Desk):
    hand = await desk.hold()
    await hand.append((Kind.RUN_PAUSED, {}), status=RunStatus.PAUSED)
    row = await desk.run(hand.run_id)
    journal = await desk.journal.events(hand.run_id)
    assert (row.head, row.epoch, row.status) == (journal[-1].seq, journal[-1].epoch, RunStatus.PAUSED)
