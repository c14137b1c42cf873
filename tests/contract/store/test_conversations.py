"""Conversations as both databases keep them: added in the transaction of the success they belong to, or not at all."""

import asyncio
from dataclasses import replace

import pytest

from runtime.engine.events import Kind
from runtime.store import conversations
from runtime.store.conversation_protocol import NewExchange
from runtime.store.open import Store
from runtime.store.protocol import Append, AppendOutcome
from tests.contract.store.desk import TENANT, Desk, Hand, tick
from tests.contract.store.faults import Cut, FailingCommit

EVER = 2**30


def exchange(hand: Hand, text: str, *, name: str = "talk", tenant: str = TENANT) -> NewExchange:
    return NewExchange(tenant, name, hand.run_id, "answer", tick(), [{"role": "user", "content": text}])


def saying(hand: Hand, *texts: str, name: str = "talk") -> Append:
    turn = hand.turn((Kind.STEP_STARTED, {"step": f"s{hand.head}", "attempt": 1}))
    return replace(turn, exchanges=tuple(exchange(hand, text, name=name) for text in texts))


def texts(found: list[conversations.Exchange]) -> list[str]:
    return [one.messages[0]["content"] for one in found]


async def test_what_is_said_is_numbered_and_reads_back(store: Store, desk: Desk):
    hand = await desk.hold()
    turn = saying(hand, "one", "two")
    assert await store.journal.append(turn) is AppendOutcome.COMMITTED
    hand.head += 1
    assert await store.journal.append(saying(hand, "three")) is AppendOutcome.COMMITTED
    row = await store.conversations.read(TENANT, "talk")
    assert row is not None
    assert (row.head, row.created_at) == (3, turn.exchanges[0].at)
    assert row.updated_at > row.created_at
    found = await store.conversations.page(TENANT, "talk", after=0, limit=10)
    assert [(one.seq, one.run_id, one.step) for one in found] == [(seq, hand.run_id, "answer") for seq in (1, 2, 3)]
    assert texts(found) == ["one", "two", "three"]
    assert texts(await store.conversations.page(TENANT, "talk", after=1, limit=1)) == ["two"]


async def test_a_fenced_turn_says_nothing(store: Store, desk: Desk):
    hand = await desk.hold()
    assert await store.journal.append(replace(saying(hand, "lost"), head=hand.head + 5, events=())) is AppendOutcome.FENCED
    assert await store.conversations.read(TENANT, "talk") is None


@pytest.mark.parametrize("cut", ["before", "after"])
async def test_a_commit_that_was_not_answered_says_it_once(store: Store, desk: Desk, cut: Cut):
    hand = await desk.hold()
    faults = FailingCommit(store)
    faults.plan = [cut]
    assert await store.journal.append(saying(hand, "once")) is AppendOutcome.COMMITTED
    assert texts(await store.conversations.page(TENANT, "talk", after=0, limit=10)) == ["once"]
    assert faults.failed == 1


async def test_tenants_do_not_share_names(store: Store, desk: Desk):
    hand = await desk.hold()
    turn = replace(saying(hand, "ours"), exchanges=(exchange(hand, "ours"), exchange(hand, "theirs", tenant="other")))
    await store.journal.append(turn)
    assert texts(await store.conversations.latest(TENANT, "talk", EVER)) == ["ours"]
    assert texts(await store.conversations.latest("other", "talk", EVER)) == ["theirs"]


async def test_many_runs_speak_at_once_and_nothing_is_lost(store: Store, desk: Desk):
    """Two names in both orders: nobody waits in a circle."""
    hands = [await desk.hold() for _ in range(12)]
    turns = []
    for place, hand in enumerate(hands):
        names = ("a", "b") if place % 2 else ("b", "a")
        turns.append(replace(saying(hand), exchanges=tuple(exchange(hand, str(place), name=name) for name in names)))
    assert set(await asyncio.gather(*map(store.journal.append, turns))) == {AppendOutcome.COMMITTED}
    for name in ("a", "b"):
        found = await store.conversations.page(TENANT, name, after=0, limit=100)
        assert [one.seq for one in found] == list(range(1, 13))
        assert sorted(map(int, texts(found))) == list(range(12))


async def test_the_latest_that_fit(store: Store, desk: Desk):
    hand = await desk.hold()
    await store.journal.append(saying(hand, *(str(number) * 100 for number in range(10))))
    size = len('[{"role":"user","content":""}]') + 100
    assert [text[0] for text in texts(await store.conversations.latest(TENANT, "talk", 3 * size + 1))] == ["7", "8", "9"]
    assert await store.conversations.latest(TENANT, "talk", size - 1) == []
    assert await store.conversations.latest(TENANT, "nothing", EVER) == []


async def test_the_oldest_go_when_there_are_too_many(store: Store, desk: Desk, monkeypatch):
    monkeypatch.setattr(conversations, "MAX_EXCHANGES", 60)
    hand = await desk.hold()
    await store.journal.append(saying(hand, *map(str, range(130))))
    assert texts(await store.conversations.latest(TENANT, "talk", EVER)) == [str(number) for number in range(70, 130)]


async def test_a_conversation_is_forgotten(store: Store, desk: Desk, monkeypatch):
    monkeypatch.setattr(conversations, "PORTION", 2)
    hand = await desk.hold()
    await store.journal.append(saying(hand, *map(str, range(7))))
    assert not await store.conversations.remove("other", "talk")
    assert await store.conversations.remove(TENANT, "talk")
    assert not await store.conversations.remove(TENANT, "talk")
    assert await store.conversations.page(TENANT, "talk", after=0, limit=10) == []


async def test_old_conversations_go(store: Store, desk: Desk):
    hand = await desk.hold()
    await store.journal.append(saying(hand, "old", name="old"))
    hand.head += 1
    limit = tick()
    await store.journal.append(saying(hand, "young", name="young"))
    while await store.retention.old_conversations(limit):
        pass
    assert await store.conversations.read(TENANT, "old") is None
    assert texts(await store.conversations.latest(TENANT, "young", EVER)) == ["young"]
