"""The ledger as rows: written in the transactions of the calls they stand for, summed for budgets and for people."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Connection, Select, bindparam, case, delete, func, or_, select, tuple_, type_coerce
from sqlalchemy.dialects.postgresql import insert as upsert

from runtime.money.amounts import PLACES, Amount
from runtime.money.periods import DAY_MS
from runtime.money.scopes import Scope
from runtime.store.columns import any_of
from runtime.store.money_protocol import LedgerRow, UsageQuery, UsageRow
from runtime.store.money_tables import ledger

PORTION = 250
"""Rows deleted in one transaction."""
_COLUMNS = tuple(column.name for column in ledger.columns)
_ADD = upsert(ledger).on_conflict_do_nothing()
_KNOWN = select(ledger.c.run_id, ledger.c.call).where(any_of(ledger.c.run_id, "runs"), any_of(ledger.c.call, "calls"))
_OLD = select(ledger.c.run_id, ledger.c.call).where(ledger.c.at < bindparam("before")).order_by(ledger.c.at).limit(PORTION)
_FORGET = delete(ledger).where(tuple_(ledger.c.run_id, ledger.c.call).in_(_OLD))

_MILLION = 10**6
_PICO = type_coerce(ledger.c.usd, BigInteger)
# Two sums, neither of which can overflow: SQLite adds integers of 64 bits only.
_USD = (func.coalesce(func.sum(_PICO // _MILLION), 0), func.coalesce(func.sum(_PICO % _MILLION), 0))
_TOKENS = func.coalesce(func.sum(ledger.c.input_tokens + ledger.c.output_tokens), 0)
_SPENT = select(func.count(), _TOKENS, *_USD).where(ledger.c.cached.is_(False))
ALWAYS = (-1, -1)
"""No time to leave out (`charged`)."""
_CHARGED = _SPENT.where(ledger.c.reserved.is_(True), or_(ledger.c.at < bindparam("from"), ledger.c.at > bindparam("to")))
_OF_SCOPE: dict[str, tuple[ColumnElement[bool], ...]] = {
    Scope.RUN: (ledger.c.root_run == bindparam("name"), ledger.c.tenant == bindparam("tenant")),
    Scope.WORKFLOW: (ledger.c.tenant == bindparam("tenant"), ledger.c.workflow == bindparam("name"), ledger.c.at >= bindparam("since")),
    Scope.USER: (ledger.c.tenant == bindparam("tenant"), ledger.c.user == bindparam("name"), ledger.c.at >= bindparam("since")),
    Scope.TENANT: (ledger.c.tenant == bindparam("tenant"), ledger.c.at >= bindparam("since")),
}
_GROUPS: dict[str, tuple[ColumnElement[Any], ...]] = {
    "run": (ledger.c.run_id.label("run"),),
    "step": (ledger.c.workflow.label("workflow"), ledger.c.step.label("step")),
    "workflow": (ledger.c.workflow.label("workflow"),),
    "user": (ledger.c.user.label("user"),),
    "model": (ledger.c.model.label("model"),),
    "day": ((ledger.c.at // DAY_MS).label("day"),),
}
_COUNTS = ("calls", "cached_calls", "unpriced_calls", "input_tokens", "cached_tokens", "output_tokens", "reasoning_tokens")


def book(connection: Connection, rows: Sequence[LedgerRow]) -> list[LedgerRow]:
    """Write calls down, under the locks of their runs. Returns those something was held back for and that were not there before."""
    if not rows:
        return []
    held = [row for row in rows if row.reserved]
    known: set[tuple[str, str]] = set()
    if held:
        found = connection.execute(_KNOWN, {"runs": sorted({row.run_id for row in held}), "calls": [row.call for row in held]})
        known = {(run_id, call) for run_id, call in found}
    connection.execute(_ADD, [{name: getattr(row, name) for name in _COLUMNS} for row in rows])
    return list({(row.run_id, row.call): row for row in held if (row.run_id, row.call) not in known}.values())


def spent(connection: Connection, scope: str, tenant: str, name: str, since: int) -> Amount:
    """What the calls that count into a budget took, from `since` on."""
    return _amount(connection, _SPENT.where(*_OF_SCOPE[scope]), {"tenant": tenant, "name": name, "since": since})


def charged(connection: Connection, scope: str, tenant: str, name: str, since: int, without: tuple[int, int]) -> Amount:
    """Of it, what something was held back for; without calls of that time (from, to; ms)."""
    given = {"tenant": tenant, "name": name, "since": since, "from": without[0], "to": without[1]}
    return _amount(connection, _CHARGED.where(*_OF_SCOPE[scope]), given)


def totals(connection: Connection, query: UsageQuery) -> list[UsageRow]:
    """Without groups always one row."""
    groups = list({column.name: column for name in query.group_by for column in _GROUPS[name]}.values())
    counted = func.count()
    sums = (
        counted,
        func.coalesce(func.sum(case((ledger.c.cached.is_(True), 1), else_=0)), 0),
        func.coalesce(func.sum(case((ledger.c.usd.is_(None), 1), else_=0)), 0),
        *(func.coalesce(func.sum(ledger.c[name]), 0) for name in _COUNTS[3:]),
        *_USD,
    )
    found = select(*groups, *sums).where(*_conditions(query)).group_by(*groups).order_by(*groups).limit(query.limit).offset(query.offset)
    rows = connection.execute(found if groups else select(*sums).where(*_conditions(query)))
    return [_usage(row, [column.name for column in groups]) for row in rows]


def forget(connection: Connection, before: int) -> int:
    """Delete a portion of the rows of calls before `before` (ms); how many."""
    return connection.execute(_FORGET, {"before": before}).rowcount


def _amount(connection: Connection, statement: Select[Any], given: Mapping[str, Any]) -> Amount:
    calls, tokens, millions, rest = connection.execute(statement, given).one()
    return Amount(_usd(millions, rest), int(tokens), calls)


def _conditions(query: UsageQuery) -> list[ColumnElement[bool]]:
    found = [ledger.c.tenant == query.tenant]
    for name in ("workflow", "user", "model", "run_id", "root_run"):
        wanted = getattr(query, name)
        if wanted is not None:
            found.append(ledger.c[name] == wanted)
    if query.since is not None:
        found.append(ledger.c.at >= query.since)
    if query.until is not None:
        found.append(ledger.c.at < query.until)
    return found


def _usage(row: Sequence[Any], names: list[str]) -> UsageRow:
    group = dict(zip(names, row, strict=False))
    *found, millions, rest = map(int, row[len(names) :])
    counts: dict[str, Any] = dict(zip(_COUNTS, found, strict=True))
    return UsageRow(group, **counts, usd=_usd(millions, rest))


def _usd(millions: Any, rest: Any) -> Decimal:
    return Decimal(int(millions) * _MILLION + int(rest)).scaleb(-PLACES)
