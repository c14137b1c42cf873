"""Owners: who lives, and what becomes of the runs of those who do not."""

from runtime.engine.events import Kind
from runtime.store.open import Store
from runtime.store.protocol import AppendOutcome, OwnerRow
from tests.contract.store.desk import Desk, Hand


async def test_owners_are_listed_with_their_beats(desk: Desk):
    row = OwnerRow("a", 0, 5, "machine", "local", "0.1.0")
    await desk.journal.register(row)
    await desk.journal.register(row)
    assert await desk.journal.owners() == [row]
    assert await desk.journal.beat("a") is True
    assert await desk.journal.beat("a", draining=True) is True
    (shown,) = await desk.journal.owners()
    assert (shown.beat, shown.draining) == (2, True)


async def test_a_buried_owner_learns_it_and_gets_nothing_more(desk: Desk):
    await desk.owner("a")
    hand = await desk.hold("a")
    await desk.owner("b")
    assert await desk.journal.bury(["a", "nobody"], now=7) == 1
    assert await desk.journal.beat("a") is False
    assert [row.owner for row in await desk.journal.owners()] == ["b"]
    row = await desk.run(hand.run_id)
    assert (row.owner, row.wake_at, row.deaths) == (None, 7, 0)
    assert await desk.claim("a") == []
    assert await hand.end() is AppendOutcome.FENCED
    assert [claim.row.run_id for claim in await desk.claim("b")] == [hand.run_id]


async def test_only_the_run_a_process_died_of_is_suspected_and_progress_clears_it(desk: Desk):
    await desk.owner("a")
    suspect, neighbour = await desk.submit(), await desk.submit()
    await desk.claim("a", suspect, neighbour)
    await desk.journal.bury(["a"], now=7)
    for name in ("b", "c"):
        await desk.owner(name, suspects=[suspect])
        await desk.owner(name, suspects=[suspect])
    claims = {claim.row.run_id: claim.row for claim in await desk.claim("c")}
    assert (claims[suspect].deaths, claims[neighbour].deaths) == (2, 0), "a repeated registration counts once"
    hand = Hand(desk.store, claims[suspect])
    assert await hand.append((Kind.STEP_STARTED, {"step": "a", "attempt": 2}), progress=False) is AppendOutcome.COMMITTED
    assert (await desk.run(suspect)).deaths == 2
    assert await hand.start() is AppendOutcome.COMMITTED
    assert (await desk.run(suspect)).deaths == 0
    assert await hand.end() is AppendOutcome.COMMITTED
    await desk.owner("d", suspects=[suspect, "018bcfe5-77af-7fba-83a3-db0000000000"])
    assert (await desk.run(suspect)).deaths == 0, "one that has ended, or is gone, is left alone"


async def test_a_burial_frees_what_an_earlier_one_left_behind(desk: Desk):
    hand = await desk.hold("a")
    await desk.change(hand.run_id, owner="long gone")
    assert await desk.journal.bury([], now=7) == 1
    await desk.owner("b")
    assert len(await desk.claim("b")) == 1


async def test_nobody_dead_changes_nothing(desk: Desk):
    hand = await desk.hold("a")
    assert await desk.journal.bury([], now=7) == 0
    assert await hand.end() is AppendOutcome.COMMITTED


async def test_a_zombie_in_another_process_is_fenced_for_good(desk: Desk, second: Store):
    zombie = Hand(second, await desk.run((await desk.hold("a")).run_id))
    await desk.owner("b")
    await desk.journal.bury(["a"], now=7)
    (claim,) = await desk.claim("b")
    successor = Hand(desk.store, claim.row)
    assert await successor.end() is AppendOutcome.COMMITTED
    assert await zombie.start() is AppendOutcome.FENCED
    assert await second.journal.claim("a", 10, run_ids=[zombie.run_id], dead=["b"], now=1 << 50) == []
