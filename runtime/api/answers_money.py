"""The shapes of answers about money; see answers.py. Dollars are decimals, written as text."""

from datetime import date
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

Usd = Annotated[str, Field(pattern=r"^\d+(\.\d{1,12})?$")]


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)


class Usage(_Answer):
    """What model calls took."""

    calls: int
    cached_calls: int
    """Of them, answered from the cache: nothing was paid for them."""
    unpriced_calls: int
    """Of them, without a known price: `usd` does not count them."""
    input_tokens: int
    cached_tokens: int
    """Of the input, read from the provider's cache."""
    output_tokens: int
    reasoning_tokens: int
    """Of the output."""
    usd: Usd


class UsageGroup(Usage):
    """The same for one group; it has the fields it was grouped by."""

    run: str | None = None
    step: str | None = None
    workflow: str | None = None
    user: str | None = None
    """The id of the API key that started the run, `schedule:<name>`, `hook:<name>`; empty when nobody is known."""
    model: str | None = None
    day: date | None = None
    """Of UTC."""


class UsageReport(_Answer):
    """Totals by group."""

    usage: list[UsageGroup]
    next_page_token: str | None


class Amount(_Answer):
    """What was spent, or is held back for calls under way."""

    usd: Usd
    tokens: int
    calls: int


class Limits(_Answer):
    """What may be spent; null: without a limit."""

    usd: Usd | None
    tokens: int | None
    calls: int | None
    on_exceeded: Literal["stop", "ask"]
    spent: Amount
    held: Amount
    """For calls under way: the most they can cost."""


class RunBudget(Limits):
    """A run's budget as it stands."""

    root_run: str
    """The run whose budget it is: that of the run at the top."""
    duration: int | None
    """Milliseconds, without the time the run waits for people or is paused."""
    exceeded: dict[str, Any] | None
    """Of a run that is paused for it: which budget is used up, `{scope, name, period, measure, spent, limit, wanted}`."""


class Budget(Limits):
    """A budget of a workflow, a user or the tenant."""

    scope: Literal["workflow", "user", "tenant"]
    name: str
    period: Literal["day", "month"]
    period_start: AwareDatetime | None
    """Null before its first call."""
    updated_at: AwareDatetime


class Budgets(_Answer):
    """All budgets of the tenant."""

    budgets: list[Budget]
