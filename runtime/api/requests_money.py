"""The bodies that speak of money."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from runtime.definition.types import parse_duration
from runtime.money.budgets import document

Usd = Annotated[float, Field(gt=0, le=1_000_000)]
Count = Annotated[int, Field(gt=0, le=10**15)]
Duration = Annotated[
    int,
    BeforeValidator(parse_duration),
    WithJsonSchema({"anyOf": [{"type": "string", "pattern": r"^(?=.)(\d+d)?(\d+h)?(\d+m)?(\d+s)?(\d+ms)?$"}, {"type": "number", "minimum": 0}]}),
]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, use_attribute_docstrings=True)


class RunBudget(_Body):
    """What one run may spend, with all the runs its steps start."""

    usd: Usd | None = None
    tokens: Count | None = None
    """Input and output together."""
    calls: Count | None = None
    duration: Duration | None = None
    """Without the time the run waits for people or is paused."""
    on_exceeded: Literal["stop", "ask"] | None = None
    """What the definition says when absent."""

    def journalled(self) -> dict[str, Any]:
        """As the journal has it."""
        return document(self.usd, self.tokens, self.calls, self.duration, self.on_exceeded)


class ResumeBody(_Body):
    """How a paused run goes on."""

    budget: RunBudget | None = None
    """What the run may spend in all from now on; limits that are not named stay."""


class BudgetBody(_Body):
    """What may be spent in each day or month of UTC; at least one limit."""

    usd: Usd | None = None
    tokens: Count | None = None
    calls: Count | None = None
    on_exceeded: Literal["stop", "ask"] = "stop"
