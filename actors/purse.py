"""How an AgentActor, which never opens the database, asks whether a model call may be made: the Supervisor, whose database decides.

A Supervisor or a database that is away is waited for, and no call with a budget goes out meanwhile: never more is spent than a budget allows.
"""

import asyncio
import time
from typing import Any

import structlog
from ray.exceptions import RayError

from actors.names import SUPERVISOR, forget, handle
from runtime.budgets.cashier import KNOWN_SECONDS, concerned
from runtime.errors import StepFailed
from runtime.money.budgets import counts
from runtime.money.purse import Answer, Payer, Wish

log = structlog.get_logger(__name__)

PATIENCE_SECONDS = 60.0
"""Ray starts a Supervisor anew within a few seconds."""
RETRY_SECONDS = 0.2
NONE = "0-0"
"""The version of no budgets at all."""


class SupervisorPurse:
    """Implements `Purse`. What it hears every second tells it whether there are budgets: while there are none, it asks nobody."""

    def __init__(self) -> None:
        self._heard: str | None = None
        self._known: str | None = None
        self._known_at = 0.0
        self._named: frozenset[tuple[str, str, str]] = frozenset()

    def heard(self, version: str) -> None:
        """The version of the budgets people have set; empty when the Supervisor has not looked yet."""
        self._heard = version or None

    async def concerns(self, payer: Payer) -> bool:
        if counts(payer.budget):
            return True
        if not self._current():
            version, named = await _ask("budgets")
            self._known, self._named, self._known_at = version, frozenset(named), time.monotonic()
        return concerned(self._named, payer)

    async def reserve(self, wish: Wish) -> Answer:
        answer: Answer = await _ask("reserve", wish)
        return answer

    async def release(self, wish: Wish) -> None:
        try:
            await _ask("release", wish)
        except StepFailed as failure:
            log.warning("release_failed", run_id=wish.run_id, seat=wish.seat, error=str(failure))

    def _current(self) -> bool:
        """Whether the list at hand is the one there is; a process that hears nothing keeps it for a second."""
        if self._heard is None:
            return self._known is not None and time.monotonic() - self._known_at < KNOWN_SECONDS
        if self._heard == NONE:
            self._known, self._named = NONE, frozenset()
        return self._known == self._heard


async def _ask(method: str, *what: Any) -> Any:
    """The Supervisor's answer, however long it takes to have one. Raises StepFailed `budget_unavailable`."""
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                try:
                    return await getattr(handle(SUPERVISOR), method).remote(*what)
                except (RayError, ValueError):
                    forget(SUPERVISOR)
                await asyncio.sleep(RETRY_SECONDS)
    except TimeoutError:
        raise StepFailed("budget_unavailable", f"the budget could not be asked for within {PATIENCE_SECONDS:g} s") from None
