"""Append: the guards, the second net under them, and everything that happens in the same transaction."""

import asyncio
from dataclasses import replace

import pytest

from runtime.engine.events import STEP_ENDS, Kind
from runtime.engine.states import RunStatus
from runtime.errors import InvalidTransition, PayloadTooLarge
from runtime.store.open import Store
from runtime.store.protocol import AppendOutcome, Message, MessageKind, SendOutcome
from tests.contract.store.desk import Desk, Hand, message, new_run, tick

COMMITTED, FENCED, CANCEL_FIRST = AppendOutcome.COMMITTED, AppendOutcome.FENCED, AppendOutcome.CANCEL_FIRST


async def test_a_turn_is_written_with_its_columns(desk: Desk):
    hand = await desk.hold()
    body = {"output": {"n": [1, 2.5, None, "ü", 10**30]}}
    turn = hand.turn((Kind.STEP_STARTED, {"step": "a", "attempt": 1}), (Kind.STEP_SUCCEEDED, {"step": "a", "attempt": 1, "body": body}))
    assert await desk.journal.append(turn) is COMMITTED
    assert await desk.journal.events(hand.run_id, after=hand.head) == list(turn.events)
    row = await desk.run(hand.run_id)
    assert (row.status, row.head, row.owner, row.wake_at) == (RunStatus.RUNNING, hand.head + 2, "host-1", None)
    assert row.started_at is not None, "kept from an earlier turn"


async def test_the_end_releases_the_run(desk: Desk):
    hand = await desk.hold()
    turn = hand.turn((Kind.RUN_FAILED, {"body": {"error": {"code": "x"}}}), status=RunStatus.FAILED, error={"code": "x"}, ended_at=77)
    assert await desk.journal.append(turn) is COMMITTED
    row = await desk.run(hand.run_id)
    assert (row.status, row.ended_at, row.error, row.owner, row.wake_at) == (RunStatus.FAILED, 77, {"code": "x"}, None, None)
    assert await desk.journal.active_runs() == 0


async def test_an_owner_that_was_taken_over_is_fenced(desk: Desk):
    zombie = await desk.hold("host-1")
    await desk.owner("host-2")
    await desk.claim("host-2", dead=["host-1"])
    before = await desk.kinds(zombie.run_id)
    assert await zombie.end() is FENCED
    assert await desk.kinds(zombie.run_id) == before
    zombie.head += 1  # even one that knows the right head
    assert await zombie.end() is FENCED


async def test_a_wrong_head_is_fenced(desk: Desk):
    hand = await desk.hold()
    hand.head -= 1
    assert await hand.end() is FENCED
    hand.head += 2
    assert await hand.end() is FENCED


async def test_an_ended_a_released_and_a_missing_run_are_fenced(desk: Desk):
    ended = await desk.hold()
    assert await ended.end() is COMMITTED
    ended.head += 1
    assert await ended.append((Kind.RUN_STARTED, {})) is FENCED
    released = await desk.hold()
    assert await released.wait(wake_at=1) is COMMITTED
    assert await released.append((Kind.RUN_WOKEN, {})) is FENCED
    missing = Hand(desk.store, new_run().row)
    assert await missing.append((Kind.RUN_STARTED, {})) is FENCED


async def test_an_accepted_cancel_comes_before_any_other_end(desk: Desk):
    hand = await desk.hold()
    assert await desk.send(hand.run_id, MessageKind.CANCEL) is SendOutcome.ACCEPTED
    before = await desk.run(hand.run_id)
    assert before.cancel_requested_at is not None
    assert await hand.end() is CANCEL_FIRST
    assert await hand.end(Kind.RUN_FAILED) is CANCEL_FIRST
    assert await desk.run(hand.run_id) == before
    assert await hand.append((Kind.RUN_CANCELING, {}), status=RunStatus.CANCELING) is COMMITTED
    assert await hand.end(Kind.RUN_CANCELED) is COMMITTED


async def test_events_that_do_not_continue_the_head_are_a_broken_invariant(desk: Desk):
    hand = await desk.hold()
    turn = hand.turn((Kind.RUN_PAUSED, {}))
    with pytest.raises(InvalidTransition):
        await desk.journal.append(replace(turn, head=turn.head + 1))
    with pytest.raises(InvalidTransition):
        await desk.journal.append(replace(turn, epoch=turn.epoch + 1))


@pytest.mark.parametrize("second_end", STEP_ENDS)
async def test_a_step_has_one_end_and_the_neighbours_of_a_second_one_are_unhurt(desk: Desk, second_end: Kind):
    hand, neighbours = await desk.hold(), [await desk.hold() for _ in range(3)]
    await hand.append((Kind.STEP_STARTED, {"step": "a", "attempt": 1}), (Kind.STEP_SUCCEEDED, {"step": "a", "body": {"output": 1}}))
    before = await desk.run(hand.run_id)
    outcomes = await asyncio.gather(
        *(each.append((Kind.RUN_PAUSED, {}), status=RunStatus.PAUSED) for each in neighbours[:2]),
        hand.append((second_end, {"step": "a", "body": {"output": 2}})),
        neighbours[2].append((Kind.RUN_PAUSED, {}), status=RunStatus.PAUSED),
        return_exceptions=True,
    )
    assert isinstance(outcomes.pop(2), InvalidTransition)
    assert outcomes == [COMMITTED] * 3
    assert await desk.run(hand.run_id) == before
    assert [len(await desk.journal.events(each.run_id)) for each in neighbours] == [each.head for each in neighbours]


async def test_an_attempt_starts_once_per_iteration(desk: Desk):
    hand = await desk.hold()
    started = [(Kind.STEP_STARTED, {"step": step, "attempt": attempt}) for step, attempt in (("poll#0", 1), ("poll#0", 2), ("poll#1", 1), ("poll", 1))]
    assert await hand.append(*started) is COMMITTED
    assert await hand.append((Kind.STEP_SUCCEEDED, {"step": "poll"})) is COMMITTED
    with pytest.raises(InvalidTransition):
        await hand.append((Kind.STEP_STARTED, {"step": "poll#0", "attempt": 2}))


async def test_many_events_of_one_step_that_are_no_ends_are_welcome(desk: Desk):
    hand = await desk.hold()
    assert await hand.append(*[(Kind.ITEMS_FINISHED, {"step": "a", "body": {"done": [[n, n]]}}) for n in range(300)]) is COMMITTED
    assert len(await desk.journal.events(hand.run_id, limit=1000)) == hand.head


async def test_giving_a_run_up(desk: Desk):
    hand = await desk.hold()
    assert await hand.wait(wake_at=1 << 45) is COMMITTED
    row = await desk.run(hand.run_id)
    assert (row.owner, row.wake_at, row.status, row.waiting_for, row.epoch) == (None, 1 << 45, RunStatus.WAITING, "timer", 1)
    assert await desk.claim() == []
    assert len(await desk.journal.claim("host-1", 1, now=1 << 45)) == 1


async def test_a_run_given_up_without_a_time_waits_for_mail(desk: Desk):
    hand = await desk.hold()
    await hand.wait()
    assert (await desk.run(hand.run_id)).wake_at is None
    assert await desk.journal.claim("host-1", 1, now=1 << 50) == []
    assert await desk.send(hand.run_id) is SendOutcome.ACCEPTED
    assert len(await desk.claim()) == 1


async def test_a_run_given_up_with_unread_mail_is_claimable_at_once(desk: Desk):
    hand = await desk.hold()
    await desk.send(hand.run_id, message_id="read")
    await desk.send(hand.run_id, message_id="unread")
    await hand.append((Kind.SIGNAL_RECEIVED, {}), applied=("read",))
    await hand.wait(wake_at=1 << 45)
    assert len(await desk.claim()) == 1
    assert [each.message_id for each in await desk.journal.inbox("host-1")] == ["unread"]


async def test_mail_read_in_the_turn_that_gives_up_does_not_wake_it(desk: Desk):
    hand = await desk.hold()
    await desk.send(hand.run_id, message_id="read")
    await hand.append((Kind.SIGNAL_RECEIVED, {}), status=RunStatus.WAITING, applied=("read",), release=True, wake_at=None)
    assert (await desk.run(hand.run_id)).wake_at is None


async def test_giving_up_without_an_event_keeps_the_journal(desk: Desk):
    hand = await desk.hold()
    assert await hand.append(status=RunStatus.RUNNING, release=True, wake_at=5) is COMMITTED
    row = await desk.run(hand.run_id)
    assert (row.owner, row.wake_at, row.head) == (None, 5, hand.head)


async def test_messages_to_other_runs_go_with_the_turn(desk: Desk):
    parent, child = await desk.hold("host-1"), await desk.hold("host-2")
    await parent.wait()
    told = Message(parent.run_id, "child:1", MessageKind.CHILD, {"status": "succeeded"}, tick())
    assert await child.end(messages=(told, message("no-such-run"))) is COMMITTED
    (claim,) = await desk.claim("host-1")
    assert claim.row.run_id == parent.run_id
    assert await desk.journal.inbox("host-1") == [told]


async def test_a_refused_turn_tells_nobody(desk: Desk):
    parent, child = await desk.hold("host-1"), await desk.hold("host-2")
    child.head += 1
    assert await child.end(messages=(message(parent.run_id),), children=(new_run(),)) is FENCED
    assert await desk.journal.inbox("host-1") == []
    assert await desk.journal.active_runs() == 2


async def test_children_are_inserted_with_the_turn_and_once(desk: Desk):
    parent, child = await desk.hold(), new_run(labels={"a": "b"})
    assert await parent.append((Kind.RUN_PAUSED, {}), status=RunStatus.PAUSED, children=(child,)) is COMMITTED
    assert await parent.append((Kind.RUN_RESUMED, {}), children=(child, new_run())) is COMMITTED
    assert await desk.kinds(child.row.run_id) == ["run.created"]
    assert await desk.journal.active_runs() == 3


async def test_the_mail_of_an_ended_run_is_gone(desk: Desk):
    hand = await desk.hold()
    await desk.send(hand.run_id)
    assert await hand.end() is COMMITTED
    await desk.change(hand.run_id, owner="host-1")
    assert await desk.journal.inbox("host-1") == []


async def test_turns_of_two_processes_on_one_run_leave_one_winner(desk: Desk, second: Store):
    for _ in range(20):
        hand = await desk.hold()
        twin = Hand(second, await desk.run(hand.run_id))
        outcomes = await asyncio.gather(hand.end(), twin.end(Kind.RUN_FAILED))
        assert sorted(outcomes) == [COMMITTED, FENCED]
        assert len(await desk.journal.events(hand.run_id)) == hand.head + 1


async def test_two_processes_whose_turns_write_to_each_others_runs_do_not_block(desk: Desk, second: Store):
    ours, theirs = [await desk.hold("a") for _ in range(8)], [await desk.hold("b") for _ in range(8)]
    hands = [*ours, *[Hand(second, await desk.run(hand.run_id)) for hand in theirs]]
    for _ in range(5):
        letters = [tuple(message(other.run_id) for other in hands if other is not hand) for hand in hands]
        turns = (hand.append((Kind.CALL_FINISHED, {"step": "a"}), messages=mail) for hand, mail in zip(hands, letters, strict=True))
        assert set(await asyncio.gather(*turns)) == {COMMITTED}
    assert len(await desk.journal.inbox("a")) == 8 * 15 * 5


async def test_deeply_nested_values_are_kept_and_too_deep_ones_refused(desk: Desk):
    def nested(depth: int) -> list[object]:
        value: list[object] = []
        for _ in range(depth):
            value = [value]
        return value

    hand = await desk.hold()
    body = {"output": nested(230)}
    assert await hand.append((Kind.CALL_FINISHED, {"step": "a", "body": body})) is COMMITTED
    (event,) = await desk.journal.events(hand.run_id, after=hand.head - 1)
    assert event.body == body
    with pytest.raises(PayloadTooLarge):
        await hand.append((Kind.CALL_FINISHED, {"step": "a", "body": {"output": nested(900)}}))
