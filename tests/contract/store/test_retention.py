"""What goes, what stays, in which portions, and that nothing is left behind: on both databases."""

import asyncio
from dataclasses import replace
from secrets import token_hex

import pytest
from sqlalchemy import Connection, func, select

from runtime.engine.events import Event, Kind
from runtime.references import reference
from runtime.retention.pruner import Pruner
from runtime.retention.rules import DAY_MS, by_age, by_hand, by_size
from runtime.settings import Retention
from runtime.store.candidates import Rule
from runtime.store.catalog_protocol import ArtifactRow
from runtime.store.fsck import fsck
from runtime.store.open import Store
from runtime.store.operations import Work
from runtime.store.protocol import AppendOutcome, ApprovalRow, MessageKind, NewRun, Removal, SendOutcome, Submitted
from runtime.store.removal import PORTION, clear_portion
from runtime.store.tables import metadata
from tests.contract.store.desk import Desk, Hand, key, message, new_run, tick

LATER = 1 << 50
"""A time by which every run of these tests has ended."""
DIGEST = "ab" * 32


@pytest.fixture
def pruner(store: Store) -> Pruner:
    return Pruner(store.retention, pause=0)


async def rows_of(store: Store, run_id: str) -> dict[str, int]:
    """Table → how many rows of this run it holds."""

    def count(connection: Connection) -> dict[str, int]:
        tables = [table for table in metadata.sorted_tables if "run_id" in table.c]
        counted = {table.name: connection.scalar(select(func.count()).where(table.c.run_id == run_id)) or 0 for table in tables}
        return {name: number for name, number in counted.items() if number}

    return await store.reader.read(count)


async def full_life(desk: Desk, name: str) -> Hand:
    """A run that has rows in every table."""
    hand = await desk.hold(key=key(name), labels={"team": "bees"})
    asked = ApprovalRow(f"approval-{name}", hand.run_id, "brief", "ask", tick())
    event = (Kind.STEP_SUCCEEDED, {"step": "a", "body": {"output": reference(DIGEST, 70_000)}})
    assert await hand.append(event, approvals=(asked,)) is AppendOutcome.COMMITTED
    await desk.send(hand.run_id, name="ping")
    await desk.store.catalog.put_artifact(ArtifactRow(hand.run_id, "a.md", DIGEST, 5, "text/plain", 1))
    assert await hand.end() is AppendOutcome.COMMITTED
    return hand


async def test_a_run_goes_with_all_that_belongs_to_it_and_nothing_else(store: Store, desk: Desk, pruner: Pruner):
    gone, kept = await full_life(desk, "one"), await full_life(desk, "two")
    before = await rows_of(store, kept.run_id)
    assert set(before) == {"runs", "events", "inbox", "approvals", "artifacts", "value_refs", "run_labels", "idem"}
    rule = Rule("succeeded", (await desk.run(kept.run_id)).ended_at)
    events = (await desk.run(gone.run_id)).head
    tally = await pruner.prune([rule])
    assert (tally.runs, tally.events) == (1, events)
    assert await rows_of(store, gone.run_id) == {}
    assert await rows_of(store, kept.run_id) == before
    assert await desk.journal.run(gone.run_id) is None
    assert await desk.journal.events(gone.run_id) == []
    assert await desk.send(gone.run_id) is SendOutcome.MISSING
    assert await fsck(store) == []


async def test_a_dry_run_counts_what_would_go_and_removes_nothing(desk: Desk, pruner: Pruner):
    hands = [await full_life(desk, str(n)) for n in range(3)]
    rules = by_hand([], LATER)
    counted = await pruner.count(rules)
    assert counted.runs == 3
    assert counted.events == sum([(await desk.run(hand.run_id)).head for hand in hands])
    assert counted.size > 0
    assert await pruner.prune(rules) == counted


async def test_age_is_counted_from_the_end_and_by_how_it_ended(desk: Desk, pruner: Pruner):
    ends = (Kind.RUN_SUCCEEDED, Kind.RUN_FAILED, Kind.RUN_CANCELED)
    ids = {}
    for kind in ends:
        hand = await desk.hold()
        await hand.end(kind)
        ids[kind] = hand.run_id
    waiting = await desk.hold()
    await waiting.wait()
    now = tick()

    async def prune(at: int) -> set[str]:
        await pruner.prune(by_age(Retention(succeeded=1, failed=2, canceled=None), [], at))
        return {run_id for run_id in (*ids.values(), waiting.run_id) if await desk.journal.run(run_id) is not None}

    everything = {*ids.values(), waiting.run_id}
    assert await prune(now + DAY_MS // 2) == everything
    assert await prune(now + DAY_MS) == everything - {ids[Kind.RUN_SUCCEEDED]}
    assert await prune(now + 2 * DAY_MS) == {ids[Kind.RUN_CANCELED], waiting.run_id}
    assert await prune(now + 1000 * DAY_MS) == {ids[Kind.RUN_CANCELED], waiting.run_id}, "for ever, and as long as it has not ended"


async def test_a_definition_may_say_how_long_its_runs_are_kept(store: Store, desk: Desk, pruner: Pruner):
    ids = {}
    for keep_for in (None, DAY_MS, 3 * DAY_MS, 60 * DAY_MS):
        hand = await desk.hold(keep_for=keep_for)
        await hand.end()
        ids[keep_for] = hand.run_id
    assert await store.retention.own_times() == [DAY_MS, 3 * DAY_MS, 60 * DAY_MS]
    for days, left in ((2, {None, 3 * DAY_MS, 60 * DAY_MS}), (40, {60 * DAY_MS}), (61, set())):
        await pruner.prune(by_age(Retention(), await store.retention.own_times(), tick() + days * DAY_MS))
        assert {keep_for for keep_for, run_id in ids.items() if await desk.journal.run(run_id) is not None} == left


async def child_of(desk: Desk, parent: Hand) -> Hand:
    return await desk.hold(parent_run=parent.run_id, parent_step="sub")


async def test_what_a_live_run_needs_stays(desk: Desk, pruner: Pruner):
    parent = await desk.hold()
    ended_child = await child_of(desk, parent)
    live_child = await child_of(desk, parent)
    await ended_child.end()
    rules = by_hand([], LATER)
    assert (await pruner.prune(rules)).runs == 0, "the child of a live parent"
    assert await desk.journal.remove(ended_child.run_id) is Removal.NEEDED
    await parent.end()
    assert (await pruner.prune(rules)).runs == 1, "the ended child; the parent still has a live one"
    assert await desk.journal.remove(parent.run_id) is Removal.NEEDED
    await live_child.end()
    assert (await pruner.prune(rules)).runs == 2


async def test_a_fork_outlives_its_source(store: Store, desk: Desk, pruner: Pruner):
    source = await full_life(desk, "source")
    reused = Event(2, 0, Kind.STEP_REUSED, tick(), "a", None, {"output": reference(DIGEST, 70_000), "from": source.run_id})
    fork = new_run(forked_from=source.run_id, head=2)
    await desk.journal.submit([NewRun(fork.row, (*fork.events, reused))])
    assert (await pruner.prune(by_hand([], LATER))).runs == 1
    assert await store.retention.referenced([DIGEST]) == {DIGEST}
    assert await desk.journal.events(fork.row.run_id) == [*fork.events, reused]
    assert await fsck(store) == []


async def test_a_long_journal_goes_in_portions_and_whoever_comes_next_goes_on(store: Store, second: Store, desk: Desk):
    hand = await desk.hold()
    for _ in range(4):
        await desk.append_calls(hand, PORTION)
    await hand.end()
    length = (await desk.run(hand.run_id)).head
    await store.retention.remove([hand.run_id])
    assert await rows_of(store, hand.run_id) == {"events": length, "removals": 1}
    assert await store.retention.clear() == PORTION
    assert await fsck(store) == [], "a run that is being removed is no damage"
    portions = []
    while done := await second.retention.clear():
        portions.append(done)
    assert max(portions) <= PORTION
    assert await rows_of(store, hand.run_id) == {}


async def test_removing_by_hand(store: Store, desk: Desk):
    hand = await desk.hold(key=key("k"))
    assert await desk.journal.remove(hand.run_id) is Removal.ACTIVE
    await desk.append_calls(hand, PORTION)
    await hand.end()
    assert await desk.journal.remove(hand.run_id) is Removal.REMOVED
    assert await rows_of(store, hand.run_id) == {}
    assert await desk.journal.remove(hand.run_id) is Removal.MISSING
    again = new_run(key=key("k"))
    assert await desk.journal.submit([again]) == [Submitted(again.row.run_id, created=True)], "its key is free again"


async def test_two_prune_at_once_beside_writers(store: Store, second: Store, desk: Desk):
    ended = [await full_life(desk, str(n)) for n in range(60)]
    live = [await desk.hold() for _ in range(5)]
    pruning = True

    async def work(hand: Hand) -> int:
        turns = 0
        while pruning or turns < 3:
            assert await hand.append((Kind.CALL_FINISHED, {"step": "a", "body": {"n": turns}})) is AppendOutcome.COMMITTED
            assert await desk.send(hand.run_id, name="ping") is SendOutcome.ACCEPTED
            await desk.send(ended[turns % len(ended)].run_id)
            turns += 1
        return turns

    writers = [asyncio.create_task(work(hand)) for hand in live]
    tallies = await asyncio.gather(*(Pruner(each.retention, pause=0.001).prune(by_hand([], LATER)) for each in (store, second)))
    pruning = False
    await asyncio.gather(*writers)
    left = await Pruner(store.retention, pause=0).prune(by_hand([], LATER))
    assert sum(tally.runs for tally in (*tallies, left)) == len(ended), "each run went once"
    assert await fsck(store) == []
    for hand in live:
        assert (await desk.run(hand.run_id)).head == hand.head


async def test_room_is_made_by_the_oldest_that_may_go(store: Store, desk: Desk, pruner: Pruner):
    kinds = [Kind.RUN_FAILED, *[Kind.RUN_SUCCEEDED] * 4]
    hands = []
    for kind in kinds:
        hand = await desk.hold()
        assert await hand.append((Kind.CALL_FINISHED, {"step": "a", "body": {"n": "x" * 200_000}})) is AppendOutcome.COMMITTED
        await hand.end(kind)
        hands.append(hand.run_id)
    now = tick() + 2 * 3_600_000
    rules = by_size(Retention(failed=None), [], now)
    used = 1_000_000
    store.retention._database = Sized(used)
    tally = await pruner.make_room(rules, used - 300_000)
    assert tally.runs >= 2
    await pruner.make_room(by_size(Retention(failed=None), [], now), 0)
    assert [run_id for run_id in hands if await desk.journal.run(run_id) is not None] == [hands[0]], "kept for ever"
    young = await full_life(desk, "young")
    await pruner.make_room(by_size(Retention(), [], tick()), 0)
    assert await desk.journal.run(young.run_id) is not None, "its result may not have been read yet"


class Sized:
    """A database of a stated size."""

    def __init__(self, size: int) -> None:
        self._size = size

    def used_bytes(self, connection: Connection) -> int:
        return self._size


async def test_the_size_of_a_database_follows_its_rows(store: Store, desk: Desk, database_url: str):
    hand = await desk.hold()
    for _ in range(40):  # text that does not shrink: PostgreSQL stores long values compressed
        assert await hand.append((Kind.CALL_FINISHED, {"step": "a", "body": {"n": token_hex(25_000)}})) is AppendOutcome.COMMITTED
    await hand.end()
    async with asyncio.timeout(30):
        while await store.retention.used_bytes() < 1_000_000:  # noqa: ASYNC110 - the server's statistics follow a second later
            await asyncio.sleep(0.05)
    full = await store.retention.used_bytes()
    assert await desk.journal.remove(hand.run_id) is Removal.REMOVED
    async with asyncio.timeout(30):
        while await store.retention.used_bytes() > full / 2:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.05)
    assert await store.retention.vacuum() is database_url.startswith("sqlite")


async def test_what_journals_and_inboxes_refer_to_is_noted(store: Store, desk: Desk):
    digests = [f"{n:02x}" * 32 for n in range(6)]
    body = {"workflow": "brief", "inputs": reference(digests[0], 70_000)}
    run = new_run()
    await desk.journal.submit([NewRun(run.row, (replace(run.events[0], body=body),))])
    await desk.send(run.row.run_id, payload=reference(digests[1], 70_000))
    parent = await desk.hold()
    child = new_run(parent_run=parent.run_id, parent_step="sub")
    child = NewRun(child.row, (replace(child.events[0], body={"inputs": reference(digests[2], 70_000)}),))
    done = {"done": [[0, reference(digests[3], 70_000)], [1, reference(digests[4], 70_000)]]}
    letter = replace(message(run.row.run_id, MessageKind.CHILD, output=reference(digests[5], 1)))
    assert await parent.append((Kind.ITEMS_FINISHED, {"step": "m", "body": done}), children=(child,), messages=(letter,)) is AppendOutcome.COMMITTED
    assert await store.retention.referenced([*digests, "ff" * 32]) == set(digests)


async def test_a_refused_turn_notes_nothing(store: Store, desk: Desk):
    hand = await desk.hold()
    hand.epoch += 1
    assert await hand.append((Kind.STEP_SUCCEEDED, {"step": "a", "body": {"output": reference(DIGEST, 1)}})) is AppendOutcome.FENCED
    assert await store.retention.referenced([DIGEST]) == set()


async def test_candidates_are_found_by_index(store: Store, desk: Desk, database_url: str):
    if not database_url.startswith("sqlite"):
        pytest.skip("PostgreSQL plans by the number of rows; the index is the same")
    seen: list[str] = []

    def explain(connection: Connection) -> None:
        from runtime.store.candidates import find

        real = connection.execute

        def spy(statement, *args):
            text = str(statement.compile(dialect=connection.dialect, compile_kwargs={"literal_binds": True}))
            seen.extend(row[-1] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}"))
            return real(statement, *args)

        connection.execute = spy
        for keep_for in (None, DAY_MS):
            find(connection, Rule("failed", LATER, keep_for), (5, "x"))

    await store.reader.read(explain)
    assert any("ix_runs_ended (keep_for=? AND status=? AND" in plan for plan in seen)
    assert not [plan for plan in seen if plan.startswith("SCAN")]


async def test_portions_are_deleted_by_key(store: Store, database_url: str):
    if not database_url.startswith("sqlite"):
        pytest.skip("PostgreSQL plans by the number of rows; the index is the same")

    def explain(connection: Connection) -> list[str]:
        from runtime.store.removal import _PORTIONS

        plans = []
        for statement in _PORTIONS:
            text = str(statement.compile(dialect=connection.dialect))
            plans += [row[-1] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", ('["a"]', 5, 0))]
        return plans

    plans = await store.reader.read(explain)
    assert not [plan for plan in plans if plan.startswith("SCAN") and "json_each" not in plan]


def test_every_table_that_speaks_of_runs_is_cleared():
    from runtime.store.removal import _LEAVES
    from runtime.store.tables import idem, removals, run_labels, runs

    speaking = {table.name for table in metadata.sorted_tables if "run_id" in table.c}
    # What became of a tick is the schedule's record; a delivery holds all it needs, and is sent also when its run is gone; a conversation
    # outlives the runs it was held in. The ledger is what was paid, whatever becomes of the run; what is held back goes with its time, when
    # its budgets are put right in the same transaction.
    speaking -= {"schedule_ticks", "outbox", "exchanges", "ledger", "reservations"}
    assert speaking == {table.name for table in (*_LEAVES, runs, run_labels, idem, removals)}


async def test_nothing_to_clear_is_nothing(store: Store):
    assert await store.writer.write(Work(clear_portion)) == 0
    assert await store.retention.clear() == 0
