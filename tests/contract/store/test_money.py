"""Money as both databases keep it: every call once, and never more than a budget allows, whatever the order of events and commits."""

import asyncio
import itertools
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import Connection, event

from runtime.engine.events import Kind
from runtime.money.accounts import Verdict
from runtime.money.amounts import Amount, Limits
from runtime.store.ledger import totals
from runtime.store.money_protocol import Raised, UsageQuery
from runtime.store.money_tables import ledger, reservations
from runtime.store.open import Store
from runtime.store.protocol import AppendOutcome, Removal
from tests.contract.store.calls import CENT, DAY, DOLLAR, NOON, ask, count, limit, pay, paying, row, standing, wish
from tests.contract.store.desk import TENANT, Desk, tick
from tests.contract.store.faults import Cut, FailingCommit


async def test_a_call_is_booked_with_its_event_and_reads_back(store: Store, desk: Desk):
    hand = await desk.hold()
    await pay(hand, row(hand, "a"), row(hand, "b", usd=None, model="other:m", cached_tokens=0))
    (total,) = await store.money.usage(UsageQuery(TENANT))
    assert (total.calls, total.unpriced_calls, total.usd) == (2, 1, CENT)
    assert (total.input_tokens, total.cached_tokens, total.output_tokens, total.reasoning_tokens) == (180, 40, 20, 10)
    by = await store.money.usage(UsageQuery(TENANT, ("model", "day")))
    assert [(each.group["model"], each.group["day"], each.calls) for each in by] == [("openai:gpt-5-mini", NOON // DAY, 1), ("other:m", NOON // DAY, 1)]
    assert await store.money.usage(UsageQuery("other", ("model",))) == []


async def test_a_fenced_turn_books_nothing(store: Store, desk: Desk):
    hand = await desk.hold()
    assert await store.journal.append(replace(paying(hand, row(hand, "a")), epoch=7, events=())) is AppendOutcome.FENCED
    assert await count(store, ledger) == 0


async def test_a_call_that_is_handed_over_twice_is_booked_once(store: Store, desk: Desk):
    hand = await desk.hold()
    granted = wish(hand, "a", {"calls": 5})
    assert (await ask(store, granted)).verdict is Verdict.GRANTED
    await pay(hand, row(hand, "a", reserved=True))
    await pay(hand, row(hand, "a", reserved=True, attempt=2))
    assert await count(store, ledger) == 1
    budget = await store.money.budget_of(TENANT, hand.run_id)
    assert budget is not None
    assert (budget.spent, budget.held) == (Amount(CENT, 100, 1), Amount())


@pytest.mark.parametrize("cut", ["before", "after"])
async def test_a_commit_that_was_not_answered_charges_once(store: Store, desk: Desk, cut: Cut):
    hand = await desk.hold()
    faults = FailingCommit(store)
    faults.plan = [cut]
    assert (await ask(store, wish(hand, "a", {"calls": 5}))).verdict is Verdict.GRANTED
    faults.plan = [cut]
    await pay(hand, row(hand, "a", reserved=True))
    budget = await store.money.budget_of(TENANT, hand.run_id)
    assert budget is not None
    assert (budget.spent, budget.held) == (Amount(CENT, 100, 1), Amount())
    assert (faults.failed, await count(store, reservations)) == (2, 0)


async def test_dollars_are_added_without_loss_and_beyond_64_bits(store: Store, desk: Desk):
    hand = await desk.hold()
    tiny, huge = Decimal("0.000000000001"), Decimal("9000000")
    await pay(hand, row(hand, "a", usd=tiny), row(hand, "b", usd=huge), row(hand, "c", usd=huge), row(hand, "d", usd=huge + tiny))
    (total,) = await store.money.usage(UsageQuery(TENANT))
    assert total.usd == 3 * huge + 2 * tiny


async def test_many_wishes_at_once_are_granted_up_to_the_limit(store: Store, second: Store, desk: Desk):
    """From two processes: of 200 calls for a cent each, a budget of a dollar lets 100 be made."""
    hand = await desk.hold()
    wishes = [wish(hand, f"c{number}", DOLLAR, seat=f"c{number}") for number in range(200)]
    answers = await asyncio.gather(*(ask((store, second)[number % 2], wanted) for number, wanted in enumerate(wishes)))
    verdicts = [answer.verdict for answer in answers]
    assert (verdicts.count(Verdict.GRANTED), verdicts.count(Verdict.LATER)) == (100, 100)
    granted = [number for number, verdict in enumerate(verdicts) if verdict is Verdict.GRANTED]
    await pay(hand, *(row(hand, f"c{number}", reserved=True, step=f"c{number}") for number in granted))
    refused = await ask(store, wish(hand, "late", DOLLAR))
    assert refused.verdict is Verdict.EXCEEDED
    assert refused.budget == {
        "scope": "run",
        "name": hand.run_id,
        "period": "run",
        "measure": "usd",
        "spent": "1",
        "limit": "1",
        "wanted": "0.01",
        "on_exceeded": "stop",
    }


async def test_what_is_held_back_is_given_back(store: Store, desk: Desk):
    """By a release, by the next wish from the same seat, and after its time."""
    hand = await desk.hold()
    one = {"calls": 1}
    first = wish(hand, "a", one)
    assert (await ask(store, first)).verdict is Verdict.GRANTED
    assert (await ask(store, wish(hand, "b", one, seat="other"))).verdict is Verdict.LATER
    await store.money.release(first)
    await store.money.release(first)
    assert (await ask(store, wish(hand, "b", one, seat="other"))).verdict is Verdict.GRANTED
    assert (await ask(store, wish(hand, "c", one, seat="other"), expires_at=NOON + 10)).verdict is Verdict.GRANTED, "the one before was over"
    assert (await ask(store, wish(hand, "d", one), now=NOON + 9)).verdict is Verdict.LATER
    assert (await ask(store, wish(hand, "d", one), now=NOON + 10)).verdict is Verdict.GRANTED
    budget = await store.money.budget_of(TENANT, hand.run_id)
    assert budget is not None
    assert (budget.spent.calls, budget.held.calls, await count(store, reservations)) == (0, 1, 1)


async def test_a_call_whose_reservation_is_gone_is_charged_all_the_same(store: Store, desk: Desk):
    hand = await desk.hold()
    await ask(store, wish(hand, "a", DOLLAR), expires_at=NOON + 1)
    await ask(store, wish(hand, "b", DOLLAR, seat="other"), now=NOON + 1)
    await pay(hand, row(hand, "a", reserved=True))
    budget = await store.money.budget_of(TENANT, hand.run_id)
    assert budget is not None
    assert (budget.spent.usd, budget.held.usd) == (CENT, CENT)


async def test_every_budget_a_call_counts_into_must_allow_it(store: Store, desk: Desk):
    hand = await desk.hold()
    await store.money.put(limit("workflow", "brief", calls=10))
    await store.money.put(limit("user", "key-1", "day", tokens=150))
    await store.money.put(limit("tenant", "-", usd=CENT * 3))
    await store.money.put(limit("user", "somebody-else", calls=1))
    assert (await ask(store, wish(hand, "a"))).verdict is Verdict.GRANTED
    answer = await ask(store, wish(hand, "b", seat="other"))
    assert (answer.verdict, answer.budget["scope"], answer.budget["measure"]) == (Verdict.LATER, "user", "tokens")
    await pay(hand, row(hand, "a", reserved=True))
    answer = await ask(store, wish(hand, "b", seat="other"))
    assert (answer.verdict, answer.budget["spent"], answer.budget["limit"], answer.budget["wanted"]) == (Verdict.EXCEEDED, 100, 150, 100)
    assert ((await standing(store, "tenant")).spent, (await standing(store, "tenant")).held) == (Amount(CENT, 100, 1), Amount())
    assert (await standing(store, "workflow")).spent.calls == 1


async def test_a_budget_counts_what_was_spent_before_it_was_set_and_begins_anew_with_its_period(store: Store, desk: Desk):
    hand = await desk.hold()
    await pay(hand, row(hand, "old", at=NOON - DAY), row(hand, "a"), row(hand, "b", cached=True, usd=Decimal(0)))
    assert (await store.money.put(limit("workflow", "brief", "day", calls=2))).spent.calls == 1
    assert (await ask(store, wish(hand, "c"))).verdict is Verdict.GRANTED
    await pay(hand, row(hand, "c", reserved=True))
    assert (await ask(store, wish(hand, "d"))).verdict is Verdict.EXCEEDED
    assert (await ask(store, wish(hand, "d"), now=NOON + DAY)).verdict is Verdict.GRANTED
    assert (await standing(store, "workflow")).spent.calls == 0


async def test_a_model_without_a_price_is_no_match_for_a_budget_in_dollars(store: Store, desk: Desk):
    hand = await desk.hold()
    assert (await ask(store, wish(hand, "a", DOLLAR, most=Decimal(0), priced=False))).verdict is Verdict.UNPRICED
    assert (await ask(store, wish(hand, "a", {"calls": 1}, priced=False, seat="other"))).verdict is Verdict.UNPRICED, "the budget is there and in dollars"
    other = await desk.hold()
    assert (await ask(store, wish(other, "a", {"calls": 1}, priced=False))).verdict is Verdict.GRANTED


async def test_a_person_raises_the_budget_of_a_run(store: Store, desk: Desk):
    hand = await desk.hold()
    await ask(store, wish(hand, "a", {"calls": 1, "tokens": 1000}))
    await pay(hand, row(hand, "a", reserved=True))
    assert (await ask(store, wish(hand, "b", {"calls": 1, "tokens": 1000}))).verdict is Verdict.EXCEEDED
    raised = Raised(TENANT, hand.run_id, {"calls": 2}, {"calls": 2, "tokens": 1}, NOON)
    await hand.store.journal.append(hand.turn((Kind.SIGNAL_RECEIVED, {"body": {"name": "x"}}), raised=raised))
    assert (await ask(store, wish(hand, "b", {"calls": 1}))).verdict is Verdict.GRANTED
    budget = await store.money.budget_of(TENANT, hand.run_id)
    assert budget is not None
    assert budget.limits == Limits(None, 1000, 2), "what was not named stays"


async def test_a_run_that_is_first_given_a_budget_under_way_is_told_of(store: Store, desk: Desk):
    """Its steps under way, and the runs below it, were begun without one."""
    hand, other = await desk.hold(), await desk.hold()
    await ask(store, wish(other, "a", {"calls": 1}))
    before = await store.money.version()
    for run in (hand, other):
        raised = Raised(TENANT, run.run_id, {"calls": 2}, {"calls": 2}, NOON)
        await run.append((Kind.SIGNAL_RECEIVED, {"body": {"name": "x"}}), raised=raised)
    assert await store.money.named() == [(TENANT, "run", hand.run_id)], "the other one had a budget from its start"
    assert await store.money.version() != before
    assert await store.money.budgets(TENANT) == []
    below = replace(wish(hand, "b"), run_id="below")
    assert (await ask(store, below)).verdict is Verdict.GRANTED
    assert (await ask(store, replace(below, call="c", seat="d", most=Amount(calls=2)))).verdict is Verdict.LATER
    await hand.end()
    assert await store.money.named() == []


async def test_budgets_are_set_changed_and_removed_and_their_version_tells(store: Store, desk: Desk):
    seen = [await store.money.version()]
    for change in (limit("user", "u", calls=1), limit("user", "u", calls=2), limit("user", "u", "day", calls=2)):
        await store.money.put(change)
        seen.append(await store.money.version())
    assert await store.money.named() == [(TENANT, "user", "u")]
    assert [(each.period, each.limits.calls) for each in await store.money.budgets(TENANT)] == [("day", 2), ("month", 2)]
    assert await store.money.budgets("other") == []
    assert await store.money.remove(TENANT, "user", "u", "day")
    assert not await store.money.remove(TENANT, "user", "u", "day")
    seen.append(await store.money.version())
    assert all(before != after for before, after in itertools.pairwise(seen))


async def test_the_ledger_outlives_its_run_and_goes_with_time(store: Store, desk: Desk):
    hand = await desk.hold()
    await ask(store, wish(hand, "a", DOLLAR))
    await pay(hand, row(hand, "a", reserved=True), row(hand, "young", at=NOON + DAY))
    await hand.end()
    assert await store.journal.remove(hand.run_id) is Removal.REMOVED
    assert await store.money.budget_of(TENANT, hand.run_id) is None
    assert await count(store, ledger) == 2
    while await store.retention.old_calls(NOON + 1):
        pass
    assert await count(store, ledger) == 1


async def test_the_end_of_a_run_gives_back_what_is_held_for_it(store: Store, desk: Desk):
    """A process died in the middle of a call, and its run was canceled before anybody made the call again."""
    hand, other = await desk.hold(), await desk.hold()
    await store.money.put(limit("workflow", "brief", calls=3))
    for each in (wish(hand, "a", DOLLAR), wish(hand, "b", DOLLAR, seat="other"), wish(other, "c", DOLLAR)):
        assert (await ask(store, each)).verdict is Verdict.GRANTED
    assert (await ask(store, wish(other, "d", seat="other"))).verdict is Verdict.LATER
    await hand.end(settles=True)
    assert ((await standing(store, "workflow")).held, await count(store, reservations)) == (Amount(CENT, 100, 1), 2)
    assert (await ask(store, wish(other, "d", seat="other"))).verdict is Verdict.GRANTED


async def test_a_budget_that_is_set_again_knows_nothing_of_calls_under_way(store: Store, desk: Desk):
    """Or what they give back would be taken from what is held for others, and more be granted than the budget allows."""
    hand = await desk.hold()
    await store.money.put(limit("workflow", "brief", calls=1))
    assert (await ask(store, wish(hand, "a"))).verdict is Verdict.GRANTED
    await store.money.remove(TENANT, "workflow", "brief", "month")
    await store.money.put(limit("workflow", "brief", calls=1))
    assert (await ask(store, wish(hand, "b", seat="other"))).verdict is Verdict.GRANTED
    await store.money.release(wish(hand, "a"))
    assert (await standing(store, "workflow")).held.calls == 1


async def test_what_is_held_in_the_budget_of_a_run_goes_with_it(store: Store, desk: Desk):
    hand = await desk.hold()
    await ask(store, wish(hand, "a", DOLLAR))
    await hand.end()
    assert await store.journal.remove(hand.run_id) is Removal.REMOVED
    assert await count(store, reservations) == 0


@pytest.mark.parametrize("group", [(), ("run",), ("step",), ("workflow",), ("user",), ("model",), ("day",), ("workflow", "step", "user")])
async def test_totals_by_every_group_and_filter(store: Store, desk: Desk, group: tuple[str, ...]):
    hand = await desk.hold()
    await pay(hand, row(hand, "a"), row(hand, "b", step="other", user="key-2", model="m:2", workflow="flow", at=NOON + DAY))
    rows = await store.money.usage(UsageQuery(TENANT, group))
    assert sum(each.calls for each in rows) == 2
    assert len(rows) == (1 if group in {(), ("run",)} else 2)
    assert await store.money.usage(UsageQuery(TENANT, group, offset=len(rows))) == [] or not group
    narrow = UsageQuery(TENANT, group, since=NOON, until=NOON + 1, workflow="brief", user="key-1", model="openai:gpt-5-mini", root_run=hand.run_id)
    assert [each.calls for each in await store.money.usage(narrow)] == [1]
    assert await store.money.usage(replace(narrow, run_id=tick.__name__)) == [] or not group


@pytest.mark.parametrize("by", [{"root_run": "r"}, {"since": 1}, {"workflow": "w"}, {"user": "u"}])
async def test_totals_are_read_by_an_index(store: Store, by: dict[str, Any]):
    if store.database.writer.dialect.name != "sqlite":
        pytest.skip("PostgreSQL reads a small table from its beginning, whatever indexes there are")

    def plan(connection: Connection) -> str:
        asked: list[tuple[str, Any]] = []
        event.listen(connection, "before_cursor_execute", lambda _connection, _cursor, statement, given, *_: asked.append((statement, given)))
        totals(connection, UsageQuery(TENANT, **by))
        return str(connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {asked[0][0]}", asked[0][1]).all())

    assert "USING INDEX ix_ledger_" in await store.reader.read(plan)
