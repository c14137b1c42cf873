"""What people ask about money, and the budgets they set."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import structlog

from runtime.clock import Clock, SystemClock, rfc3339
from runtime.errors import NotFound, Problem, RequestInvalid
from runtime.money.amounts import Limits, dollars, written
from runtime.money.periods import DAY_MS
from runtime.money.scopes import ALL, Scope
from runtime.store.money_protocol import BudgetRow, Money, UsageQuery, UsageRow
from runtime.store.protocol import RunRow

log = structlog.get_logger(__name__)

MAX_NAMED = 10_000
"""Budgets of one tenant: every process that makes model calls knows whom there are budgets for."""
SET_SCOPES = (Scope.WORKFLOW.value, Scope.USER.value, Scope.TENANT.value)


@dataclass(frozen=True, slots=True)
class NewBudget:
    """What a budget shall be; at least one limit."""

    scope: str
    name: str
    period: str
    usd: float | None = None
    tokens: int | None = None
    calls: int | None = None
    on_exceeded: str = "stop"


class Budgets:
    """Every method takes the tenant from whoever authenticated the caller."""

    def __init__(self, money: Money, clock: Clock | None = None) -> None:
        self._money = money
        self._clock = clock or SystemClock()

    async def usage(self, query: UsageQuery) -> list[dict[str, Any]]:
        """Totals by group."""
        return [{**_group(row.group), **usage_view(row)} for row in await self._money.usage(query)]

    async def of_run(self, row: RunRow) -> dict[str, Any]:
        """What a run's model calls took; of a run that no step has started, also those of the runs below it."""
        (total,) = await self._money.usage(_query(row))
        return usage_view(total)

    async def of_steps(self, row: RunRow) -> dict[str, dict[str, Any]]:
        """The same by step, of the run's own calls."""
        return {found.group["step"]: usage_view(found) for found in await self._money.usage(UsageQuery(row.tenant, ("step",), run_id=row.run_id))}

    async def budget_of(self, row: RunRow, created: Mapping[str, Any], short: Mapping[str, Any] | None) -> dict[str, Any] | None:
        """A run's budget as it stands; `created` is the body of its first event, `short` what it is paused for."""
        given = created.get("budget")
        root = (created.get("parent") or {}).get("root") or row.parent_run or row.run_id
        stands = await self._money.budget_of(row.tenant, root)
        if given is None and stands is None and short is None:
            return None
        shown: dict[str, Any] = {"usd": None, "tokens": None, "calls": None, "duration": None, "on_exceeded": "stop", **(given or {})}
        if stands is not None:
            shown |= {**_limits(stands.limits), "on_exceeded": stands.on_exceeded}
        counted = stands or BudgetRow(row.tenant, Scope.RUN.value, root, "run", Limits(), "stop")
        return {**shown, "root_run": root, "spent": counted.spent.document(), "held": counted.held.document(), "exceeded": short}

    async def budgets(self, tenant: str) -> list[dict[str, Any]]:
        """Those people have set, as they stand."""
        return [budget_view(row) for row in await self._money.budgets(tenant)]

    async def put(self, tenant: str, new: NewBudget, *, by: str) -> dict[str, Any]:
        """Set a budget. It holds for calls that begin from now on, within two seconds in other processes. Raises RequestInvalid."""
        _check(new)
        known = await self._money.budgets(tenant)
        if len(known) >= MAX_NAMED and (new.scope, new.name, new.period) not in {(row.scope, row.name, row.period) for row in known}:
            raise RequestInvalid(f"there are {MAX_NAMED} budgets already")
        now = self._clock.now()
        limits = Limits(None if new.usd is None else dollars(new.usd), new.tokens, new.calls)
        row = await self._money.put(BudgetRow(tenant, new.scope, new.name, new.period, limits, new.on_exceeded, created_at=now, updated_at=now))
        log.info("budget_set", tenant=tenant, scope=new.scope, name=new.name, period=new.period, by=by)
        return budget_view(row)

    async def remove(self, tenant: str, scope: str, name: str, period: str, *, by: str) -> None:
        """Remove a budget. Raises NotFound."""
        if scope not in SET_SCOPES or not await self._money.remove(tenant, scope, name, period):
            raise NotFound("there is no such budget")
        log.info("budget_removed", tenant=tenant, scope=scope, name=name, period=period, by=by)


def usage_view(row: UsageRow) -> dict[str, Any]:
    """Totals as JSON; dollars are text."""
    names = ("calls", "cached_calls", "unpriced_calls", "input_tokens", "cached_tokens", "output_tokens", "reasoning_tokens")
    return {**{name: getattr(row, name) for name in names}, "usd": written(row.usd)}


def budget_view(row: BudgetRow) -> dict[str, Any]:
    """A budget as it stands; `period_start` is null before its first call."""
    return {
        "scope": row.scope,
        "name": row.name,
        "period": row.period,
        **_limits(row.limits),
        "on_exceeded": row.on_exceeded,
        "spent": row.spent.document(),
        "held": row.held.document(),
        "period_start": None if row.since is None else rfc3339(row.since),
        "updated_at": rfc3339(row.updated_at),
    }


def nothing() -> dict[str, Any]:
    """The usage of a run that has made no call yet."""
    return usage_view(UsageRow())


def _query(row: RunRow) -> UsageQuery:
    return UsageQuery(row.tenant, root_run=row.run_id) if row.parent_run is None else UsageQuery(row.tenant, run_id=row.run_id)


def _group(group: Mapping[str, Any]) -> dict[str, Any]:
    """A day as a date."""
    day = group.get("day")
    return {**group} if day is None else {**group, "day": datetime.fromtimestamp(day * DAY_MS / 1000, UTC).date().isoformat()}


def _limits(limits: Limits) -> dict[str, Any]:
    return {"usd": None if limits.usd is None else written(limits.usd), "tokens": limits.tokens, "calls": limits.calls}


def _check(new: NewBudget) -> None:
    problems = []
    if new.usd is new.tokens is new.calls is None:
        problems.append(Problem("", "name at least one of usd, tokens and calls"))
    if new.scope not in SET_SCOPES:
        problems.append(Problem("/scope", f"a budget is of a {', a '.join(SET_SCOPES)}"))
    if (new.scope == Scope.TENANT.value) != (new.name == ALL):
        problems.append(Problem("/name", f"the budget of the tenant as a whole, and no other, is called {ALL}"))
    if problems:
        raise RequestInvalid(problems[0].detail, problems=problems)
