"""fsck finds every difference between the ledger, the journals and the budgets, and nothing where there is none."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import Connection, delete, insert, update

from runtime.money.amounts import Amount
from runtime.money.purse import EXPIRES_MS
from runtime.settings import LEAST_LEDGER_DAYS
from runtime.store.fsck import fsck
from runtime.store.fsck_money import GRACE_MS
from runtime.store.money_protocol import BudgetRow
from runtime.store.money_tables import budgets, ledger, reservations
from runtime.store.open import Store
from runtime.store.operations import Work
from runtime.store.protocol import Removal
from runtime.store.tables import runs
from tests.contract.store.calls import CENT, DAY, DOLLAR, NOON, ask, limit, pay, row, standing, wish
from tests.contract.store.desk import TENANT, Desk, Hand

LATER = NOON + 100 * DAY
"""When the ledger may have forgotten the calls of these tests."""
BORN = NOON - 2 * GRACE_MS
"""When their budgets were set: long enough before the calls."""


async def lived_in(store: Store, desk: Desk) -> Hand:
    """A run with calls of every kind and one under way, budgets of every scope, and a run that has left nothing but its row of the ledger."""
    hand, gone = await desk.hold(), await desk.hold()
    await store.money.put(_set("workflow", "brief", usd=Decimal(5)))
    await store.money.put(_set("user", "key-1", period="day", calls=100))
    for call in ("a", "b"):
        await ask(store, wish(hand, call, DOLLAR))
        await pay(hand, row(hand, call, reserved=True, at=NOON + len(call)))
    await pay(hand, row(hand, "a", reserved=True, attempt=2))
    await pay(hand, row(hand, "c", cached=True, usd=Decimal(0)), row(hand, "d", usd=None, at=NOON + 1))
    await ask(store, wish(hand, "e", DOLLAR, seat="other"))
    await pay(gone, row(gone, "a"))
    await gone.end()
    assert await store.journal.remove(gone.run_id) is Removal.REMOVED
    return hand


def _set(scope: str, name: str, period: str = "month", **limits: Any) -> BudgetRow:
    return replace(limit(scope, name, period, **limits), created_at=BORN)


async def spoil(store: Store, statement: object) -> None:
    def execute(connection: Connection) -> None:
        assert connection.execute(statement).rowcount > 0  # type: ignore[call-overload] - any statement

    await store.writer.write(Work(execute))


@pytest.mark.parametrize("now", [NOON, LATER])
async def test_where_money_is_right_there_are_no_findings(store: Store, desk: Desk, now: int):
    await lived_in(store, desk)
    assert await fsck(store, now) == []


@pytest.mark.parametrize(
    ("spoiling", "findings"),
    [
        (lambda _: delete(ledger).where(ledger.c.call == "b"), ["I15", "I16"]),
        (lambda _: update(ledger).where(ledger.c.call == "d").values(seq=1), ["I15"]),
        (lambda _: update(ledger).where(ledger.c.call == "b").values(usd=CENT + CENT), ["I15", "I16", "I16", "I16"]),
        (lambda _: update(ledger).where(ledger.c.call == "d").values(call="f"), ["I15", "I15"]),
        (lambda _: update(ledger).where(ledger.c.call == "c").values(cached=False), ["I15"]),
        (lambda _: update(budgets).where(budgets.c.scope == "run").values(spent_calls=1), ["I16"]),
        (lambda _: update(budgets).where(budgets.c.scope == "run").values(spent_tokens=10_000), ["I16"]),
        (lambda _: update(budgets).where(budgets.c.scope == "user").values(spent_usd=CENT), ["I16"]),
        (lambda _: update(budgets).where(budgets.c.scope == "workflow").values(spent_usd=Decimal(1)), ["I16"]),
        (lambda _: update(budgets).where(budgets.c.scope == "workflow").values(held_calls=0), ["I17"]),
        (lambda _: delete(budgets).where(budgets.c.scope == "workflow"), ["I17"]),
        (lambda _: delete(reservations), ["I17", "I17", "I17"]),
        (lambda _: insert(reservations).values(_held()), ["I17"]),
        (lambda hand: update(reservations).where(reservations.c.run_id == hand.run_id).values(usd=CENT + CENT), ["I17", "I17", "I17"]),
    ],
)
async def test_damage_is_named(store: Store, desk: Desk, spoiling, findings: list[str]):
    await spoil(store, spoiling(await lived_in(store, desk)))
    assert [finding.split()[0] for finding in sorted(await fsck(store, NOON))] == findings


def _held() -> dict[str, object]:
    of = {"run_id": "r", "seat": "s", "scope": "tenant", "tenant": TENANT, "name": "-", "period": "day"}
    return {**of, "call": "x", "usd": CENT, "tokens": 1, "expires_at": NOON}


async def test_what_a_run_holds_after_its_end_is_named_unless_it_came_late(store: Store, desk: Desk):
    hand = await desk.hold()
    await ask(store, wish(hand, "a", DOLLAR), expires_at=NOON + EXPIRES_MS)
    await ask(store, wish(hand, "b", DOLLAR, seat="other"), expires_at=NOON + EXPIRES_MS + 2 * GRACE_MS)
    await hand.end()
    ended = NOON + 2 * GRACE_MS
    await spoil(store, update(runs).where(runs.c.run_id == hand.run_id).values(ended_at=ended))
    found = [finding for finding in await fsck(store, NOON) if finding.startswith("I17")]
    assert found == [f"I17 run {hand.run_id}: it has ended, and the budget of its run still holds something back for ask"]


async def test_what_the_ledger_may_have_forgotten_is_not_missed(store: Store, desk: Desk):
    hand = await desk.hold()
    await ask(store, wish(hand, "old", DOLLAR))
    await pay(hand, row(hand, "old", reserved=True))
    await pay(hand, *(row(hand, call, at=NOON + DAY) for call in ("a", "b")))
    later = NOON + (LEAST_LEDGER_DAYS + 1) * DAY
    assert await store.retention.old_calls(NOON + 1) == 1
    assert await fsck(store, later) == []
    (missing,) = [finding for finding in await fsck(store, NOON) if finding.startswith("I15")]
    assert missing == f"I15 run {hand.run_id}: event 4 has no row in the ledger"
    await spoil(store, delete(ledger))
    assert await fsck(store, later) == []


async def test_calls_that_nothing_was_held_back_for_may_be_missing_in_a_budget(store: Store, desk: Desk):
    """They were under way when it was set."""
    hand = await desk.hold()
    await store.money.put(_set("workflow", "brief", calls=10))
    await ask(store, wish(hand, "a"))
    await pay(hand, row(hand, "a", reserved=True), row(hand, "b"))
    assert (await standing(store, "workflow")).spent == Amount(CENT, 100, 1)
    assert await fsck(store, NOON) == []
    await spoil(store, update(budgets).values(spent_calls=0))
    assert [finding.split()[0] for finding in await fsck(store, NOON)] == ["I16"]
