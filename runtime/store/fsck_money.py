"""Invariants I15 to I17: the ledger against the journals, budgets against the ledger, and what is held back against the calls it is held for.

The ledger is kept longer than journals, so a row may have outlived its run; and it is not kept for ever, so what is old enough to have been
forgotten is not missed.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, and_, bindparam, exists, func, or_, select, tuple_

from runtime.engine.events import Event, Kind
from runtime.money.amounts import NOTHING, Amount
from runtime.money.periods import DAY_MS
from runtime.money.purse import EXPIRES_MS
from runtime.money.scopes import Scope
from runtime.settings import LEAST_LEDGER_DAYS
from runtime.store.ledger import ALWAYS, charged, spent
from runtime.store.money_tables import budgets, ledger, reservations
from runtime.store.tables import runs

GRACE_MS = 60_000
"""What happens this soon before or after something else may have been committed in the other order."""
PAGE = 200

Told = tuple[int, int, int, int, int, int, Decimal | None, bool]
"""What the journal says of a call, in the order of `_SAID`."""
Place = tuple[str, str, str, str]

_SAID = ("seq", "at", "input_tokens", "cached_tokens", "output_tokens", "reasoning_tokens", "usd", "cached")
_ROWS = select(ledger.c.call, *(ledger.c[name] for name in _SAID)).where(ledger.c.run_id == bindparam("run"))
_OLDEST = select(func.min(ledger.c.at))

_PLACE = (budgets.c.scope, budgets.c.tenant, budgets.c.name, budgets.c.period)
_SPENT = (budgets.c.spent_usd, budgets.c.spent_tokens, budgets.c.spent_calls)
_HELD = (budgets.c.held_usd, budgets.c.held_tokens, budgets.c.held_calls)
_AFTER = tuple_(*_PLACE) > tuple_(*(bindparam(column.name) for column in _PLACE))
_RUN = and_(budgets.c.scope == Scope.RUN.value, runs.c.run_id == budgets.c.name)
_BUDGETS = (
    select(*_PLACE, budgets.c.since, *_SPENT, budgets.c.created_at, runs.c.created_at.label("begun"))
    .join_from(budgets, runs, _RUN, isouter=True)
    .where(_AFTER)
    .order_by(*_PLACE)
    .limit(PAGE)
)
_HOLDING = select(*_PLACE, *_HELD).where(or_(*(column != 0 for column in _HELD)))
_SEATS = select(reservations.c.scope, reservations.c.tenant, reservations.c.name, reservations.c.period, reservations.c.usd, reservations.c.tokens)
_KEPT_ON = (
    select(reservations.c.run_id, reservations.c.seat, reservations.c.scope)
    .where(exists().where(runs.c.run_id == reservations.c.run_id, runs.c.ended_at - GRACE_MS > reservations.c.expires_at - EXPIRES_MS))
    .order_by(reservations.c.run_id)
    .limit(bindparam("most"))
)


def told(event: Event) -> tuple[str, Told] | None:
    """The id of the model call that this event says was paid for, and what it says of it; None of any other event."""
    body = event.body or {}
    usage: Mapping[str, Any] = body.get("usage") or {}
    if event.kind is not Kind.CALL_FINISHED or "call" not in usage:
        return None
    tokens = [usage[name] for name in _SAID[2:6]]
    return usage["call"], (event.seq, event.at, *tokens, Decimal(usage["usd"]) if "usd" in usage else None, body.get("cached", False))


def kept_from(connection: Connection, now: int) -> int:
    """From when (ms) on the ledger is complete: it forgets the oldest rows first, and none that is younger than a month."""
    oldest: int | None = connection.scalar(_OLDEST)
    young = now - (LEAST_LEDGER_DAYS - 1) * DAY_MS  # a day less, because rows are forgotten while this is looked at
    return young if oldest is None else min(young, oldest + 1)


def unbooked(connection: Connection, run_id: str, calls: Mapping[str, Told], complete_from: int) -> Iterator[str]:
    """I15: every call of this journal and every row of the ledger that do not fit together. A call that was journalled twice has one row."""
    rows = {row[0]: tuple(row[1:]) for row in connection.execute(_ROWS, {"run": run_id})}
    for call, said in calls.items():
        if call not in rows:
            if said[1] >= complete_from:
                yield f"I15 run {run_id}: event {said[0]} has no row in the ledger"
        elif rows[call] != said:
            yield f"I15 run {run_id}: the ledger has something else of call {call} than event {said[0]}"
    for call in rows.keys() - calls.keys():
        yield f"I15 run {run_id}: the ledger has a call {call} that its journal does not have"


def misjudged(connection: Connection, after: Place, now: int) -> tuple[Place | None, list[str]]:
    """I16 of a page of budgets: what was spent is what the ledger says. The place of the last one, None when there is none.

    Calls that were under way without being asked for when a budget came into being may be in the ledger and not in what it has spent.
    """
    complete_from, findings, place = kept_from(connection, now), [], None
    for row in connection.execute(_BUDGETS, dict(zip(("scope", "tenant", "name", "period"), after, strict=True))).all():
        place = scope, tenant, name, period = row.scope, row.tenant, row.name, row.period
        of_run = scope == Scope.RUN
        if row.since is None or (of_run and row.begun is None):
            continue  # nothing was counted yet, or its run is gone
        found = Amount(row.spent_usd, row.spent_tokens, row.spent_calls)
        # Before a budget people set there were calls that nothing was held back for in it; around that moment, both may have been committed.
        least = charged(connection, scope, tenant, name, row.since, ALWAYS if of_run else (row.created_at - GRACE_MS, row.created_at + GRACE_MS))
        most = spent(connection, scope, tenant, name, row.since)
        complete = (row.begun if of_run else row.since) >= complete_from
        for measure in ("usd", "tokens", "calls"):
            value, low, high = (getattr(amount, measure) for amount in (found, least, most))
            if value < low or (complete and value > high):
                yet = f"{low}" if low == high else f"{low} to {high}"
                findings.append(f"I16 budget {scope} {name} ({period}) of {tenant}: {value} {measure} are spent, the ledger says {yet}")
    return place, findings


def miskept(connection: Connection, most: int) -> Iterator[str]:
    """I17: a budget holds back what its calls under way may cost, and nothing for a run that has ended."""
    held: dict[Place, Amount] = defaultdict(lambda: NOTHING)
    for *place, usd, tokens in connection.execute(_SEATS):
        scope, tenant, name, period = place
        held[scope, tenant, name, period] += Amount(usd, tokens, 1)
    for of, found in _standing(connection, held):
        if found != held.get(of, NOTHING):
            scope, tenant, name, period = of
            said = "it is not there" if found is None else f"it says {found.document()}"
            yield f"I17 budget {scope} {name} ({period}) of {tenant}: {held.get(of, NOTHING).document()} is held back, {said}"
    for run_id, seat, scope in connection.execute(_KEPT_ON, {"most": most}):
        yield f"I17 run {run_id}: it has ended, and the budget of its {scope} still holds something back for {seat}"


def _standing(connection: Connection, held: Iterable[Place]) -> Iterator[tuple[Place, Amount | None]]:
    """Budgets that say they hold something, and those of these places, which are None when they are not there."""
    standing: dict[Place, Amount] = {}
    for scope, tenant, name, period, *amounts in connection.execute(_HOLDING):
        standing[scope, tenant, name, period] = Amount(*amounts)
    yield from standing.items()
    for place in held:
        if place not in standing:
            there = connection.execute(select(*_HELD).where(*(column == part for column, part in zip(_PLACE, place, strict=True)))).first()
            yield place, None if there is None else Amount(*there)
