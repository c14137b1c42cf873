"""Limits of concurrency: no more runs hold a slot than the limit says, and nobody waits while one is free."""

import asyncio
from typing import Any

import pytest

from runtime.engine.events import Kind
from runtime.engine.states import RunStatus
from runtime.store.fsck import fsck
from runtime.store.open import Store
from runtime.store.protocol import AppendOutcome, MessageKind, RunQuery, SendOutcome
from tests.contract.store.desk import TENANT, Desk, Hand, new_run, tick
from tests.contract.store.lined_up import holding, limits, start


async def test_a_run_gets_a_slot_or_waits_without_a_time_to_wake(desk: Desk):
    first, second = await desk.submit(**limits(1)), await desk.submit(**limits(1))
    held, waiting = await desk.run(first), await desk.run(second)
    assert (held.slot_held, held.wake_at, held.lined_up) == (True, held.created_at, False)
    assert (waiting.slot_held, waiting.wake_at, waiting.lined_up, waiting.status) == (False, None, True, RunStatus.QUEUED)
    await desk.owner()
    assert [claim.row.run_id for claim in await desk.claim()] == [first]
    assert await desk.claim("host-1", second) == [], "not even by name"


async def test_submit_says_who_waits(desk: Desk):
    runs = [new_run(**limits(2)) for _ in range(3)]
    assert [one.waiting for one in await desk.journal.submit(runs)] == [False, False, True]


async def test_the_end_of_a_run_gives_its_slot_to_the_next_at_once_and_says_so(desk: Desk):
    heard: list[str] = []
    desk.journal.on_news(heard.extend)
    first, second, third = [await desk.submit(**limits(1)) for _ in range(3)]
    hand = await start(desk, first)
    await hand.wait(wake_at=1 << 45)
    assert await holding(desk, first, second, third) == [first], "a waiting run keeps its slot"
    (claim,) = await desk.journal.claim("host-1", 1, run_ids=[first], now=1 << 46)
    await Hand(desk.store, claim.row).end(Kind.RUN_FAILED)
    assert await holding(desk, first, second, third) == [second]
    assert heard == [second]
    assert (await desk.run(second)).wake_at is not None


@pytest.mark.parametrize("way", ["end", "cancel", "first turn"])
async def test_however_a_run_ends_its_slot_is_free(desk: Desk, way: str):
    first, second = await desk.submit(**limits(1)), await desk.submit(**limits(1))
    await desk.owner()
    if way == "end":
        await (await start(desk, first)).end()
    elif way == "cancel":
        assert await desk.send(first, MessageKind.CANCEL) is SendOutcome.CANCELED
    else:

        def at_once(claim: Any) -> Any:
            hand = Hand(desk.store, claim.row)
            return hand.turn((Kind.RUN_FAILED, {"body": {"error": {}}}), status=RunStatus.FAILED)

        (claim,) = await desk.journal.claim("host-1", 1, run_ids=[first], now=tick(), first=at_once)
        assert claim.opened is AppendOutcome.COMMITTED
    assert await holding(desk, first, second) == [second]


async def test_the_death_of_an_owner_leaks_no_slot_and_frees_none(desk: Desk):
    first, second = await desk.submit(**limits(1)), await desk.submit(**limits(1))
    await start(desk, first, "dead")
    await desk.owner("host-2")
    await desk.journal.bury(["dead"], now=tick())
    assert await holding(desk, first, second) == [first]
    (claim,) = await desk.claim("host-2")
    assert claim.row.run_id == first
    await Hand(desk.store, claim.row).end()
    assert await holding(desk, first, second) == [second]


async def test_a_canceled_run_that_waits_ends_and_the_others_move_up(desk: Desk):
    first, second, third = [await desk.submit(**limits(1)) for _ in range(3)]
    assert await desk.journal.place_in_line(third) == 2
    assert await desk.send(second, MessageKind.CANCEL) is SendOutcome.CANCELED
    assert await desk.journal.place_in_line(third) == 1
    assert await desk.journal.place_in_line(first) is None
    await (await start(desk, first)).end()
    assert await holding(desk, first, second, third) == [third]


async def test_mail_does_not_start_a_run_that_waits(desk: Desk):
    _first, second = await desk.submit(**limits(1)), await desk.submit(**limits(1))
    for kind in (MessageKind.SIGNAL, MessageKind.PAUSE):
        assert await desk.send(second, kind) is SendOutcome.ACCEPTED
    assert (await desk.run(second)).wake_at is None


async def test_the_most_urgent_comes_first_then_the_one_that_came_first(desk: Desk):
    first = await desk.submit(**limits(1))
    late, later, urgent = await desk.submit(**limits(1)), await desk.submit(**limits(1)), await desk.submit(priority=5, **limits(1))
    order, current = [], first
    for _ in range(3):
        await (await start(desk, current)).end()
        (current,) = await holding(desk, late, later, urgent)
        order.append(current)
    assert order == [urgent, late, later]


async def test_free_slots_go_round_the_keys(desk: Desk):
    held = [await desk.submit(**limits(2, k="busy")) for _ in range(2)]
    busy = [await desk.submit(**limits(2, k="busy")) for _ in range(4)]
    calm = [await desk.submit(**limits(2, k="calm")) for _ in range(2)]
    order: list[str] = []
    for _ in range(6):
        await (await start(desk, held.pop(0))).end()
        order += [run_id for run_id in await holding(desk, *busy, *calm) if run_id not in order]
        held = [run_id for run_id in order if not (await desk.run(run_id)).status.ended] if len(held) == 0 else held
    assert order == [calm[0], busy[0], calm[1], busy[1], busy[2], busy[3]]


async def test_the_key_with_the_fewest_slots_comes_first(desk: Desk):
    held = [await desk.submit(**limits(3, k="a")) for _ in range(3)]
    a = [await desk.submit(**limits(3, k="a")) for _ in range(3)]
    b = [await desk.submit(**limits(3, k="b")) for _ in range(2)]
    c = await desk.submit(**limits(3, k="c"))
    order: list[str] = []
    for run_id in held:
        await (await start(desk, run_id)).end()
        order += [other for other in await holding(desk, *a, *b, c) if other not in order]
    assert order == [b[0], c, a[0]]


async def test_a_full_key_holds_up_nobody_else(desk: Desk):
    first = await desk.submit(**limits(10, per_key=1, k="a"))
    blocked = [await desk.submit(priority=9, **limits(10, per_key=1, k="a")) for _ in range(20)]
    other = await desk.submit(**limits(10, per_key=1, k="b"))
    assert await holding(desk, first, *blocked, other) == [first, other]
    await (await start(desk, first)).end()
    assert await holding(desk, *blocked) == [blocked[0]]


async def test_keys_of_different_types_are_different(desk: Desk):
    runs = [await desk.submit(**limits(None, per_key=1, k=k)) for k in ("1", 1, True, 1)]
    assert await holding(desk, *runs) == runs[:3]


async def test_many_ends_in_one_batch_serve_many(desk: Desk):
    runs = [new_run(**limits(40)) for _ in range(120)]
    await desk.journal.submit(runs)
    ids = [run.row.run_id for run in runs]
    await desk.owner()
    for round_ in range(3):
        claims = await desk.claim(limit=100)
        assert [claim.row.run_id for claim in claims] == ids[40 * round_ : 40 * round_ + 40]
        hands = [Hand(desk.store, claim.row) for claim in claims]
        await asyncio.gather(*(hand.start() for hand in hands))
        await asyncio.gather(*(hand.end() for hand in hands))
    assert await desk.journal.active_runs() == 0


async def test_each_version_waits_by_its_own_limits(desk: Desk):
    old = [await desk.submit(**limits(3)) for _ in range(2)]
    narrow, wide = await desk.submit(**limits(1)), await desk.submit(**limits(3))
    assert await holding(desk, *old, narrow, wide) == [*old, wide]
    for run_id in old:
        await (await start(desk, run_id)).end()
    assert await holding(desk, narrow, wide) == [wide]
    await (await start(desk, wide)).end()
    assert await holding(desk, narrow, wide) == [narrow]


# --- the net ---------------------------------------------------------------------------------------------------------


async def test_slots_nobody_gave_away_are_found(desk: Desk):
    first, second = await desk.submit(**limits(1)), await desk.submit(**limits(1))
    assert await desk.journal.grant_slots() == []
    await desk.change(first, slot_held=False)
    assert await desk.journal.grant_slots() == [first]
    assert await holding(desk, first, second) == [first]


async def test_who_is_locked_by_another_is_passed_over_and_found_later(desk: Desk, second: Store, database_url: str):
    if database_url.startswith("sqlite"):
        return  # one writer at a time: nobody is ever locked
    first, locked, third = [await desk.submit(**limits(1)) for _ in range(3)]
    hand = await start(desk, first)
    held, released = asyncio.Event(), asyncio.Event()

    async def lock() -> None:
        async with second.database._write_engine.begin() as connection:  # type: ignore[attr-defined]
            from sqlalchemy import text

            await connection.execute(text("SELECT 1 FROM runs WHERE run_id = :run FOR UPDATE"), {"run": locked})
            held.set()
            await released.wait()

    locking = asyncio.create_task(lock())
    await held.wait()
    await hand.end()
    assert await holding(desk, locked, third) == []
    released.set()
    await locking
    assert await desk.journal.grant_slots() == [locked]


@pytest.mark.parametrize(
    "columns",
    [{"slot_held": True}, {"slot_held": False, "wake_at": 7}, {"slot_held": False, "owner": "host-1"}],
)
async def test_fsck_sees_slots_that_are_not_as_they_should_be(desk: Desk, columns: dict[str, Any]):
    _first, second = await desk.submit(**limits(1)), await desk.submit(**limits(1))
    await desk.change(second, **columns)
    assert any(finding.startswith("I13 ") for finding in await fsck(desk.store))


async def test_fsck_counts_by_key(desk: Desk):
    runs = [await desk.submit(**limits(None, per_key=1, k="a")) for _ in range(2)]
    assert await fsck(desk.store) == []
    await desk.change(runs[1], slot_held=True, wake_at=1)
    assert any(finding.startswith("I13 ") for finding in await fsck(desk.store))


async def test_the_list_can_be_asked_for_those_who_wait(desk: Desk):
    _first, second, _free = await desk.submit(**limits(1)), await desk.submit(**limits(1)), await desk.submit()
    assert [row.run_id for row in await desk.journal.runs(RunQuery(TENANT, waiting_for="slot"))] == [second]
    await (await desk.hold()).wait()
    assert len(await desk.journal.runs(RunQuery(TENANT, waiting_for="timer"))) == 1


async def test_runs_without_limits_cost_no_statement(desk: Desk):
    """Whatever is written for runs without limits, nothing speaks of slots but the rows' own columns."""
    from sqlalchemy import event

    said: list[str] = []

    def listen(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        said.append(statement)

    event.listen(desk.store.database.writer, "before_cursor_execute", listen)
    hand = await desk.hold()
    await desk.send(hand.run_id)
    await hand.end()
    event.remove(desk.store.database.writer, "before_cursor_execute", listen)
    assert said
    assert not [statement for statement in said if "advisory" in statement or "slot_held AND" in statement or "RECURSIVE" in statement]


async def test_two_stores_that_race_stay_within_the_limit(desk: Desk, second: Store):
    journals = [desk.journal, second.journal]
    runs = [new_run(**limits(5)) for _ in range(60)]
    await asyncio.gather(*(journals[at % 2].submit([run]) for at, run in enumerate(runs)))
    await desk.owner()
    ended = 0
    while ended < 60:
        claims = await desk.claim()
        assert len(claims) == min(5, 60 - ended)
        hands = [Hand((desk.store, second)[at % 2], claim.row) for at, claim in enumerate(claims)]
        await asyncio.gather(*(hand.start() for hand in hands))
        await asyncio.gather(*(hand.end() for hand in hands))
        await desk.journal.grant_slots()
        ended += len(claims)
    assert await fsck(desk.store) == []


@pytest.mark.parametrize("on_limit", ["queue", "cancel_new", "cancel_old"])
async def test_a_transaction_that_has_to_be_tried_again_decides_again(desk: Desk, on_limit: str, monkeypatch: pytest.MonkeyPatch):
    from runtime.store import commit as module

    await desk.submit(**limits(1, on_limit=on_limit))
    execute, tries = module.execute, []

    def fail_once(connection: Any, batch: Any) -> list[str]:
        news = execute(connection, batch)
        tries.append(news)
        if len(tries) == 1:
            raise ConnectionResetError
        return news

    monkeypatch.setattr(module, "execute", fail_once)
    run = new_run(**limits(1, on_limit=on_limit))
    (submitted,) = await desk.journal.submit([run])
    monkeypatch.undo()
    assert (len(tries), submitted.created) == (2, True)
    row = await desk.run(run.row.run_id)
    assert (row.status.ended, row.slot_held) == (on_limit == "cancel_new", on_limit == "cancel_old")
    assert await fsck(desk.store) == []
