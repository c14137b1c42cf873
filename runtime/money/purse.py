"""The seam between a model call that wants to be made and the one place that says whether it may.

A call is granted before it is made, with the most it can cost held back. Nobody has to settle it: the transaction that journals the call
writes its row of the ledger, and with it replaces what was held back by what it has cost. Only a call that is not made, or fails, is released.
"""

from dataclasses import dataclass, field
from typing import Any, Protocol

from runtime.money.accounts import Verdict
from runtime.money.amounts import Amount

EXPIRES_MS = 3_600_000
"""How long something is held back for a call nobody has heard of since. As a rule the next call of its seat, or the end of its run, gives it
back long before."""


@dataclass(frozen=True, slots=True)
class Payer:
    """Whose money a run spends."""

    tenant: str
    workflow: str
    root: str
    """The run that nobody else's step has started; its budget holds for all below it."""
    user: str = ""
    """The id of the API key that started it, `schedule:<name>`, `hook:<name>`, or nothing."""
    budget: dict[str, Any] | None = None
    """Of the root run, as the journal has it."""


@dataclass(frozen=True, slots=True)
class Wish:
    """One call that wants to be made."""

    payer: Payer
    run_id: str
    seat: str
    """The step, or item, that makes the call. It makes one at a time, so that a wish from the same seat says that the one before is over."""
    call: str
    """The id of the call."""
    most: Amount
    priced: bool = True
    """Whether the price of the model is known."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The verdict; unless the call is granted, which budget stands in the way:
    `{scope, name, period, measure, spent, limit, wanted, on_exceeded}`."""

    verdict: Verdict
    budget: dict[str, Any] = field(default_factory=dict)


class Purse(Protocol):
    """Every method waits, for a bounded time, for whoever decides, and raises StepFailed `budget_unavailable` then."""

    async def concerns(self, payer: Payer) -> bool:
        """Whether there is any budget for what this one spends. When there is none this costs nothing, and a new one is known of within 2 s."""
        ...

    async def reserve(self, wish: Wish) -> Answer:
        """Ask once. The same wish again is the same wish. Does not wait for calls under way to end: LATER means to ask again."""
        ...

    async def release(self, wish: Wish) -> None:
        """The call has cost nothing. Also after it was not granted, and more than once. Never raises: what is not given back now, is by the
        next call of the seat, or after an hour."""
        ...
