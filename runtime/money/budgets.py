"""The budget of a run as its journal has it: `{usd?, tokens?, calls?, duration?, on_exceeded}`; dollars are text, the duration ms."""

from collections.abc import Mapping
from typing import Any

from runtime.money.amounts import Limits, dollars, written

FIELDS = ("usd", "tokens", "calls", "duration")
Document = Mapping[str, Any]


def document(usd: float | None, tokens: int | None, calls: int | None, duration: int | None, on_exceeded: str | None) -> dict[str, Any]:
    """What is given, as the journal has it; without what is not. Raises ArithmeticError when the dollars are more than 28 digits."""
    given = {"usd": None if usd is None else written(dollars(usd)), "tokens": tokens, "calls": calls, "duration": duration, "on_exceeded": on_exceeded}
    return {name: value for name, value in given.items() if value is not None}


def lower(one: Document, other: Document) -> dict[str, Any] | None:
    """Both at once: of each limit the lower one, and what `other` says of `on_exceeded`. None when there is no limit."""
    found: dict[str, Any] = {}
    for name in FIELDS:
        limits = [budget[name] for budget in (one, other) if name in budget]
        if limits:
            found[name] = min(limits, key=dollars)
    return {**found, "on_exceeded": other.get("on_exceeded", one.get("on_exceeded", "stop"))} if found else None


def limits(budget: Document) -> Limits:
    """What a purse has to keep; the duration is the engine's to watch."""
    return Limits(None if "usd" not in budget else dollars(budget["usd"]), budget.get("tokens"), budget.get("calls"))


def counts(budget: Document | None) -> bool:
    """Whether a purse has anything to keep."""
    return budget is not None and limits(budget) != Limits()
