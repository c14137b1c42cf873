"""The seam for money: the ledger of model calls, its totals, budgets, and what is held back for calls under way. Times are ms."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Protocol

from runtime.money.amounts import NOTHING, ZERO, Amount, Limits
from runtime.money.purse import Answer, Wish


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """One model call that was answered."""

    run_id: str
    call: str
    """Its id, made where the call was made: handed over twice, it is one call."""
    seq: int
    """Of the `call.finished` it stands for."""
    root_run: str
    step: str
    iteration: int | None
    item: int | None
    number: int
    """Which model call of its step or item it is, counted from 1 and anew after answers that could not be used."""
    attempt: int
    tenant: str
    workflow: str
    user: str
    provider: str
    model: str
    """As the definition writes it."""
    answered: str | None
    """As the provider calls it."""
    input_tokens: int
    cached_tokens: int
    """Of the input: read from the provider's cache."""
    output_tokens: int
    reasoning_tokens: int
    """Of the output."""
    usd: Decimal | None
    """None: the price is not known."""
    prices: str | None
    """The price table and its version."""
    latency_ms: int | None
    cached: bool
    """The answer was taken from the cache: nobody was asked, nothing was paid."""
    at: int
    reserved: bool = False
    """Whether something was held back for it: only then it is charged to budgets."""

    @property
    def amount(self) -> Amount:
        """What it counts against budgets; an unknown price counts as none."""
        return Amount(ZERO if self.usd is None else self.usd, self.input_tokens + self.output_tokens, 1)

    @property
    def seat(self) -> str:
        """Which step or item made it (runtime.money.purse)."""
        return seat(self.step, self.iteration, self.item)


def seat(step: str, iteration: int | None, item: int | None) -> str:
    """The name of a step or item within its run."""
    return step + ("" if iteration is None else f"#{iteration}") + ("" if item is None else f"[{item}]")


@dataclass(frozen=True, slots=True)
class Raised:
    """A person has given a root run another budget: `change` is what is new, `whole` all of it."""

    tenant: str
    root: str
    change: Mapping[str, Any]
    whole: Mapping[str, Any]
    at: int


@dataclass(frozen=True, slots=True)
class BudgetRow:
    """A budget as it stands."""

    tenant: str
    scope: str
    name: str
    period: str
    limits: Limits
    on_exceeded: str
    since: int | None = None
    """From when its calls are counted; None: none was counted yet."""
    spent: Amount = NOTHING
    held: Amount = NOTHING
    created_at: int = 0
    updated_at: int = 0


GROUPS = ("run", "step", "workflow", "user", "model", "day")


@dataclass(frozen=True, slots=True)
class UsageQuery:
    """Totals of one tenant's model calls. `group_by`: of GROUPS, none for one total; a day is one of UTC."""

    tenant: str
    group_by: tuple[str, ...] = ()
    since: int | None = None
    until: int | None = None
    """Not included."""
    workflow: str | None = None
    user: str | None = None
    model: str | None = None
    run_id: str | None = None
    """Only calls of this run itself."""
    root_run: str | None = None
    """Only calls of this run and of all below it."""
    limit: int = 1000
    offset: int = 0


@dataclass(frozen=True, slots=True)
class UsageRow:
    """What a group of calls took."""

    group: dict[str, Any] = field(default_factory=dict)
    calls: int = 0
    cached_calls: int = 0
    """Of them, answered from the cache."""
    unpriced_calls: int = 0
    """Of them, without a known price: `usd` does not count them."""
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    usd: Decimal = ZERO


class Money(Protocol):
    """Every method raises StoreUnavailable. Rows of the ledger have no method: they are a part of `Journal.append`."""

    async def usage(self, query: UsageQuery) -> list[UsageRow]:
        """Totals by group, in the order of the groups."""
        ...

    async def put(self, row: BudgetRow) -> BudgetRow:
        """Set a budget of a workflow, a user or the tenant. It is counted anew from the ledger; what is held back stays."""
        ...

    async def remove(self, tenant: str, scope: str, name: str, period: str) -> bool: ...

    async def budgets(self, tenant: str) -> list[BudgetRow]:
        """Those people have set, as they stand."""
        ...

    async def budget_of(self, tenant: str, root: str) -> BudgetRow | None:
        """A run's budget as it stands; None before its first call, and of a run without one."""
        ...

    async def named(self) -> Sequence[tuple[str, str, str]]:
        """(tenant, scope, name) of all budgets people have set, and of those they first gave to runs that were, and are, under way."""
        ...

    async def version(self) -> str:
        """Another text after every `put` and `remove`, and after a run under way was first given a budget."""
        ...

    async def reserve(self, wish: Wish, *, now: int, expires_at: int) -> Answer:
        """Hold back what the call may cost, in all budgets it counts into or in none."""
        ...

    async def release(self, wish: Wish) -> None:
        """Give back what is held for this call. Changes nothing the second time, and for a call that was journalled."""
        ...
