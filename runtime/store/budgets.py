"""Budgets as rows: read under lock, changed in memory, written back once; and what people set."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, and_, bindparam, case, delete, exists, func, select, text, tuple_, update
from sqlalchemy.dialects.postgresql import insert as upsert

from runtime.money.accounts import Account
from runtime.money.amounts import NOTHING, Amount, Limits
from runtime.money.budgets import counts, limits
from runtime.money.periods import begin
from runtime.money.purse import Payer
from runtime.money.scopes import Scope
from runtime.store.ledger import spent
from runtime.store.money_protocol import BudgetRow, Raised
from runtime.store.money_tables import NAMED, RAISED, budgets, reservations
from runtime.store.tables import runs

Owner = tuple[str, str, str]
"""Scope, tenant, name: what may have several budgets, one for each period."""
Place = tuple[str, str, str, str]
"""Scope, tenant, name, period: the key of one."""

_ROWS = select(budgets)
_OWNER = tuple_(budgets.c.scope, budgets.c.tenant, budgets.c.name)
# One order of locking for everybody.
_LOCK = _ROWS.where(_OWNER.in_(bindparam("owners", expanding=True))).order_by(*budgets.primary_key).with_for_update()
_THIS = and_(*(column == bindparam(f"b_{column.name}") for column in budgets.primary_key))
_HELD_HERE = and_(*(reservations.c[column.name] == bindparam(f"b_{column.name}") for column in budgets.primary_key))
_NAMED = select(budgets.c.tenant, budgets.c.scope, budgets.c.name).where(text(NAMED)).distinct()
_RAISED = select(budgets.c.tenant, budgets.c.scope, budgets.c.name).where(
    text(RAISED), exists().where(runs.c.run_id == budgets.c.name, runs.c.ended_at.is_(None))
)
_VERSION = select(func.count(), func.coalesce(func.sum(budgets.c.updated_at), 0))
_COUNTED = ("since", "spent_usd", "spent_tokens", "spent_calls", "held_usd", "held_tokens", "held_calls")
_WRITE = update(budgets).where(_THIS).values({name: bindparam(name) for name in _COUNTED})
_NEW = upsert(budgets)
_OPEN = _NEW.on_conflict_do_nothing()
_PUT = _NEW.on_conflict_do_update(
    index_elements=list(budgets.primary_key),
    # `since` begins anew: it is counted from the ledger again. Later than before whatever the clocks say: `version` sees a change by it.
    set_={name: _NEW.excluded[name] for name in ("usd", "tokens", "calls", "on_exceeded", "since")}
    | {"updated_at": case((_NEW.excluded.updated_at > budgets.c.updated_at, _NEW.excluded.updated_at), else_=budgets.c.updated_at + 1)},
)


@dataclass(slots=True, eq=False)
class Line:
    """One locked budget."""

    place: Place
    account: Account
    on_exceeded: str
    since: int | None
    fresh: bool = False
    """Counted in this transaction, so that what it has written into the ledger is in the count."""
    changed: bool = False

    def count(self, connection: Connection, now: int) -> None:
        """Begin to count, when that was not done yet or a new period has begun."""
        scope, tenant, name, period = self.place
        since = begin(period, now)
        if self.since is None or self.since < since:
            self.account = replace(self.account, spent=spent(connection, scope, tenant, name, since))
            self.since, self.fresh, self.changed = since, True, True

    def become(self, account: Account) -> None:
        self.account, self.changed = account, True

    def values(self) -> dict[str, Any]:
        key = {f"b_{column.name}": part for column, part in zip(budgets.primary_key, self.place, strict=True)}
        return {**key, "since": self.since, **_columns("spent", self.account.spent), **_columns("held", self.account.held)}


def lock(connection: Connection, owners: Iterable[Owner]) -> dict[Place, Line]:
    """The budgets of these, to the end of the transaction."""
    wanted = sorted(set(owners))
    if not wanted:
        return {}
    found = [_row(row) for row in connection.execute(_LOCK, {"owners": wanted})]
    return {
        (row.scope, row.tenant, row.name, row.period): Line(
            (row.scope, row.tenant, row.name, row.period), Account(row.limits, row.spent, row.held), row.on_exceeded, row.since
        )
        for row in found
    }


def write_back(connection: Connection, lines: Iterable[Line]) -> None:
    """Write what has changed."""
    changed = [line.values() for line in lines if line.changed]
    if changed:
        connection.execute(_WRITE, changed)


def open_runs_budgets(connection: Connection, payers: Sequence[Payer], now: int) -> None:
    """Make sure that the budgets these root runs have are there; what one that is there says stays."""
    rows = {(payer.tenant, payer.root): run_row(payer.tenant, payer.root, payer.budget, now) for payer in payers if counts(payer.budget)}
    if rows:
        connection.execute(_OPEN, [_values(rows[key]) for key in sorted(rows)])


def raise_budget(connection: Connection, raised: Raised) -> None:
    """Give a run the limits a person has named; the others stay as they are. If it had none, its calls under way and the runs below it were
    begun without: from then on it is among those everybody is told of."""
    row = _values(run_row(raised.tenant, raised.root, raised.whole, raised.at)) | {"raised": True}
    changed = {name: row[name] for name in ("usd", "tokens", "calls", "on_exceeded") if name in raised.change}
    connection.execute(_NEW.on_conflict_do_update(index_elements=list(budgets.primary_key), set_={**changed, "updated_at": raised.at}), row)


def run_row(tenant: str, root: str, budget: Any, now: int) -> BudgetRow:
    """A run's budget at its beginning."""
    return BudgetRow(tenant, Scope.RUN.value, root, "run", limits(budget), budget.get("on_exceeded", "stop"), created_at=now, updated_at=now)


def put(connection: Connection, row: BudgetRow) -> BudgetRow:
    """The row as it is then, counted."""
    connection.execute(_PUT, _values(row))
    place = (row.scope, row.tenant, row.name, row.period)
    line = lock(connection, [place[:3]])[place]
    line.count(connection, row.updated_at)
    write_back(connection, [line])
    found = [each for each in every(connection, row.tenant) if (each.scope, each.tenant, each.name, each.period) == place]
    return found[0]


def remove(connection: Connection, tenant: str, scope: str, name: str, period: str) -> bool:
    """Whether there was one. What it held back is forgotten: one that is set in its place begins with nothing."""
    given = {"b_tenant": tenant, "b_scope": scope, "b_name": name, "b_period": period}
    found = connection.execute(delete(budgets).where(_THIS), given).rowcount > 0
    connection.execute(delete(reservations).where(_HELD_HERE), given)
    return found


def every(connection: Connection, tenant: str) -> list[BudgetRow]:
    """Those people have set."""
    found = _ROWS.where(budgets.c.tenant == tenant, text(NAMED)).order_by(budgets.c.scope, budgets.c.name, budgets.c.period)
    return [_row(row) for row in connection.execute(found)]


def of_run(connection: Connection, tenant: str, root: str) -> BudgetRow | None:
    given = {"b_tenant": tenant, "b_scope": Scope.RUN.value, "b_name": root, "b_period": "run"}
    row = connection.execute(_ROWS.where(_THIS), given).first()
    return None if row is None else _row(row)


def named(connection: Connection) -> list[tuple[str, str, str]]:
    """(tenant, scope, name) of all budgets people have set, and of those they gave to runs that were under way, and still are."""
    found = [*connection.execute(_NAMED), *connection.execute(_RAISED)]
    return [(tenant, scope, name) for tenant, scope, name in found]


def version(connection: Connection) -> str:
    """Count and sum of times: whatever is set or removed moves one of them."""
    found = [connection.execute(_VERSION.where(text(those))).one() for those in (NAMED, RAISED)]
    return "-".join(str(sum(figures)) for figures in zip(*found, strict=True))


def _columns(kind: str, amount: Amount) -> dict[str, Any]:
    return {f"{kind}_usd": amount.usd, f"{kind}_tokens": amount.tokens, f"{kind}_calls": amount.calls}


def _values(row: BudgetRow) -> dict[str, Any]:
    """The columns of a budget of which nothing was counted yet."""
    given = {name: getattr(row, name) for name in ("tenant", "scope", "name", "period", "on_exceeded", "created_at", "updated_at")}
    allowed = {"usd": row.limits.usd, "tokens": row.limits.tokens, "calls": row.limits.calls}
    return {**given, **allowed, "since": None, "raised": False, **_columns("spent", NOTHING), **_columns("held", NOTHING)}


def _row(row: Any) -> BudgetRow:
    return BudgetRow(
        row.tenant,
        row.scope,
        row.name,
        row.period,
        Limits(row.usd, row.tokens, row.calls),
        row.on_exceeded,
        row.since,
        Amount(row.spent_usd, row.spent_tokens, row.spent_calls),
        Amount(row.held_usd, row.held_tokens, row.held_calls),
        row.created_at,
        row.updated_at,
    )
