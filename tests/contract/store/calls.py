"""Calls that were paid for, wishes and budgets, as the tests of money make them."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

from sqlalchemy import func, select

from runtime.engine.events import Kind
from runtime.money.amounts import Amount, Limits, written
from runtime.money.purse import Answer, Payer, Wish
from runtime.store.money_protocol import BudgetRow, LedgerRow
from runtime.store.open import Store
from runtime.store.protocol import Append, AppendOutcome
from tests.contract.store.desk import TENANT, Hand

DAY = 86_400_000
NOON = 1_700_000_000_000 - 1_700_000_000_000 % DAY + DAY // 2
CENT = Decimal("0.01")
DOLLAR = {"usd": "1"}


def row(hand: Hand, call: str, **changes: Any) -> LedgerRow:
    whole = LedgerRow(
        run_id=hand.run_id,
        call=call,
        seq=hand.head + 1,
        root_run=hand.run_id,
        step="ask",
        iteration=None,
        item=None,
        number=1,
        attempt=1,
        tenant=TENANT,
        workflow="brief",
        user="key-1",
        provider="openai",
        model="openai:gpt-5-mini",
        answered="gpt-5-mini-2025",
        input_tokens=90,
        cached_tokens=40,
        output_tokens=10,
        reasoning_tokens=5,
        usd=CENT,
        prices="genai-prices 1",
        latency_ms=812,
        cached=False,
        at=NOON,
    )
    return replace(whole, **changes)


def paying(hand: Hand, *rows: LedgerRow, **fields: Any) -> Append:
    """A turn that journals these calls."""
    append = hand.turn(*((Kind.CALL_FINISHED, {"step": "ask", "body": said_of(each)}) for each in rows), ledger=rows, **fields)
    events = tuple(replace(event, at=each.at) for each, event in zip(rows, append.events, strict=True))
    return replace(append, events=events, ledger=tuple(replace(each, seq=event.seq) for each, event in zip(rows, events, strict=True)))


def said_of(paid: LedgerRow) -> dict[str, Any]:
    """What the journal has of this call."""
    names = ("call", "provider", "model", "input_tokens", "cached_tokens", "output_tokens", "reasoning_tokens")
    usage = {name: getattr(paid, name) for name in names} | ({} if paid.usd is None else {"usd": written(paid.usd)})
    return {"name": "model", "n": paid.number, "result": {}, "usage": usage, **({"cached": True} if paid.cached else {})}


async def pay(hand: Hand, *rows: LedgerRow) -> None:
    assert await hand.store.journal.append(paying(hand, *rows)) is AppendOutcome.COMMITTED
    hand.head += len(rows)


def wish(hand: Hand, call: str, budget: dict[str, Any] | None = None, *, most: Decimal = CENT, priced: bool = True, seat: str = "ask") -> Wish:
    return Wish(Payer(TENANT, "brief", hand.run_id, "key-1", budget), hand.run_id, seat, call, Amount(most, 100, 1), priced)


async def ask(store: Store, wanted: Wish, *, now: int = NOON, expires_at: int = NOON + DAY) -> Answer:
    return await store.money.reserve(wanted, now=now, expires_at=expires_at)


async def count(store: Store, table: Any) -> int:
    return await store.reader.read(lambda connection: connection.scalar(select(func.count()).select_from(table)))


def limit(scope: str, name: str, period: str = "month", **limits: Any) -> BudgetRow:
    return BudgetRow(TENANT, scope, name, period, Limits(**limits), "stop", created_at=NOON, updated_at=NOON)


async def standing(store: Store, scope: str) -> BudgetRow:
    (found,) = [each for each in await store.money.budgets(TENANT) if each.scope == scope]
    return found
