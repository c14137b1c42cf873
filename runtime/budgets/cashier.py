"""The purse of a process with an open store: the database decides, so there may be several of them."""

import asyncio
import time

import structlog

from runtime.clock import Clock
from runtime.errors import StepFailed, StoreUnavailable
from runtime.money.budgets import counts
from runtime.money.purse import EXPIRES_MS, Answer, Payer, Wish
from runtime.money.scopes import Scope, named
from runtime.store.money_protocol import Money

log = structlog.get_logger(__name__)

KNOWN_SECONDS = 1.0
"""How old the list of budgets may be: that there is none must cost nothing."""


class Cashier:
    """Implements `Purse`."""

    def __init__(self, money: Money, clock: Clock) -> None:
        self._money, self._clock = money, clock
        self._named: frozenset[tuple[str, str, str]] = frozenset()
        self._known_at: float | None = None
        self._reading: asyncio.Task[None] | None = None

    async def concerns(self, payer: Payer) -> bool:
        """From memory, unless that is a second old."""
        if counts(payer.budget):
            return True
        if self._known_at is None or time.monotonic() - self._known_at >= KNOWN_SECONDS:
            if self._reading is None:
                self._reading = asyncio.create_task(self._read())
            await asyncio.shield(self._reading)
        return concerned(self._named, payer)

    async def reserve(self, wish: Wish) -> Answer:
        now = self._clock.now()
        try:
            return await self._money.reserve(wish, now=now, expires_at=now + EXPIRES_MS)
        except StoreUnavailable as failure:
            raise unavailable(failure) from None

    async def release(self, wish: Wish) -> None:
        try:
            await self._money.release(wish)
        except StoreUnavailable as failure:
            log.warning("release_failed", run_id=wish.run_id, seat=wish.seat, error=str(failure))

    async def _read(self) -> None:
        try:
            self._named = frozenset(await self._money.named())
            self._known_at = time.monotonic()
        except StoreUnavailable as failure:
            raise unavailable(failure) from None
        finally:
            self._reading = None


def concerned(budgets: frozenset[tuple[str, str, str]], payer: Payer) -> bool:
    """Whether one of these (tenant, scope, name) is for what this one spends."""
    return bool(budgets) and any((payer.tenant, scope, name) in budgets for scope, name in ((Scope.RUN.value, payer.root), *named(payer)))


def unavailable(failure: Exception) -> StepFailed:
    """Nobody can say whether the call may be made, so it is not made."""
    return StepFailed("budget_unavailable", f"the budget could not be asked: {failure}")
