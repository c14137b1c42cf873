"""Dollars, tokens and calls, added up without loss: dollars are decimals to 12 places, never floats."""

from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from typing import Any

PLACES = 12
"""Of a dollar: a token of the cheapest model costs about 10^-8. What is finer is rounded up."""
_UNIT = Decimal(1).scaleb(-PLACES)
ZERO = Decimal(0)


def dollars(value: Any) -> Decimal:
    """An int, a float as it is written, a decimal or its text, rounded up to 12 places. Raises ArithmeticError."""
    return Decimal(repr(value) if isinstance(value, float) else value).quantize(_UNIT, ROUND_CEILING)


def written(usd: Decimal) -> str:
    """The shortest text of these dollars, without an exponent: `0.000405`, `12`."""
    text = f"{usd:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


@dataclass(frozen=True, slots=True)
class Amount:
    """What was, or may be, spent."""

    usd: Decimal = ZERO
    tokens: int = 0
    """Input and output together."""
    calls: int = 0

    def __add__(self, other: "Amount") -> "Amount":
        return Amount(self.usd + other.usd, self.tokens + other.tokens, self.calls + other.calls)

    def __sub__(self, other: "Amount") -> "Amount":
        return Amount(self.usd - other.usd, self.tokens - other.tokens, self.calls - other.calls)

    def document(self) -> dict[str, Any]:
        """As JSON; dollars are text."""
        return {"usd": written(self.usd), "tokens": self.tokens, "calls": self.calls}


NOTHING = Amount()


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of each may be spent; None: as much as there is."""

    usd: Decimal | None = None
    tokens: int | None = None
    calls: int | None = None
