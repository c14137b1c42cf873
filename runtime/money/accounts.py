"""One budget as it stands: what was spent, what is held back for calls under way, and whether one more call fits.

The promise: whatever order calls come and end in, what was spent is never more than the limit, as long as no call costs more than was held
back for it. So a call is granted only when it would fit even if all others under way cost as much as they may.
"""

from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum

from runtime.money.amounts import NOTHING, Amount, Limits

MEASURES = ("usd", "tokens", "calls")


class Verdict(StrEnum):
    """What becomes of the wish to make a call."""

    GRANTED = "granted"
    LATER = "later"
    """It does not fit now, and may when calls under way have cost less than they might."""
    EXCEEDED = "exceeded"
    UNPRICED = "unpriced"
    """The budget is in dollars, and nobody knows what the model costs."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict, and for EXCEEDED and LATER the measure that is short: `usd`, `tokens` or `calls`."""

    verdict: Verdict
    measure: str = ""


GRANTED = Judgement(Verdict.GRANTED)


@dataclass(frozen=True, slots=True)
class Account:
    """What a budget allows, and what became of it."""

    limits: Limits
    spent: Amount = NOTHING
    held: Amount = NOTHING
    """For calls under way: the most they can cost."""

    def judge(self, most: Amount, *, priced: bool = True) -> Judgement:
        """Whether a call that costs at most this may be made now."""
        if not priced and self.limits.usd is not None:
            return Judgement(Verdict.UNPRICED, "usd")
        short = ""
        for measure in MEASURES:
            limit: Decimal | int | None = getattr(self.limits, measure)
            if limit is None:
                continue
            needed = getattr(self.spent, measure) + getattr(most, measure)
            if needed > limit:
                return Judgement(Verdict.EXCEEDED, measure)
            if not short and needed + getattr(self.held, measure) > limit:
                short = measure
        return Judgement(Verdict.LATER, short) if short else GRANTED

    def hold(self, most: Amount) -> "Account":
        """Hold this back for a call that was granted."""
        return replace(self, held=self.held + most)

    def give_back(self, most: Amount) -> "Account":
        """A call that was granted has cost nothing."""
        return replace(self, held=self.held - most)

    def spend(self, true: Amount) -> "Account":
        """A call has cost this; what was held back for it is given back by `give_back`."""
        return replace(self, spent=self.spent + true)
