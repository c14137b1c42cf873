"""The layer that asks the purse before a model is asked. Inside the cache, whose answers cost nothing; outside the limiter, which makes wait."""

import asyncio
from typing import TYPE_CHECKING

from runtime.agents.asking import Ask, Request
from runtime.agents.estimate import estimate
from runtime.agents.prices import unpriced
from runtime.errors import StepFailed
from runtime.money.accounts import Verdict
from runtime.money.purse import Answer, Payer, Purse, Wish

if TYPE_CHECKING:  # as in asking.py
    from pydantic_ai.messages import ModelResponse

FIRST_PAUSE, LONGEST_PAUSE = 0.05, 1.0
PATIENCE_SECONDS = 600.0
"""How long a call waits for others under way to cost less than they might; then its attempt fails, and may be repeated."""
_WHOSE = {"run": "of the run", "workflow": "of workflow {name}", "user": "of user {name}", "tenant": "of the tenant"}


class Budgets:
    """For one step or item: `Layer` (asking.py)."""

    def __init__(self, purse: Purse, payer: Payer, run_id: str, seat: str) -> None:
        self._purse, self._payer, self._run_id, self._seat = purse, payer, run_id, seat

    async def __call__(self, request: Request, ask: Ask) -> "ModelResponse":
        """Ask beneath once the purse has granted it. Raises StepFailed `budget_exceeded` and `price_unknown`, never retryable, and
        `budget_unavailable`."""
        if not await self._purse.concerns(self._payer):
            return await ask(request)
        bounded = estimate(request)
        wish = Wish(self._payer, self._run_id, self._seat, request.call.id, bounded.most, bounded.priced)
        try:
            await self._granted(wish, request)
            request.call.reserved = True
            return await ask(bounded.request)
        except BaseException:
            # Refused, failed or canceled. It must be given back also when this task is being canceled.
            await asyncio.shield(self._purse.release(wish))
            raise

    async def _granted(self, wish: Wish, request: Request) -> None:
        pause = FIRST_PAUSE
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while (answer := await self._purse.reserve(wish)).verdict is Verdict.LATER:
                    await asyncio.sleep(pause)
                    pause = min(2 * pause, LONGEST_PAUSE)
        except TimeoutError:
            message = f"the budget was held by other calls for {PATIENCE_SECONDS:g} s"
            raise StepFailed("budget_unavailable", message) from None
        if answer.verdict is Verdict.UNPRICED:
            raise unpriced(request.choice)
        if answer.verdict is Verdict.EXCEEDED:
            raise exceeded(answer)


def exceeded(answer: Answer) -> StepFailed:
    """What a step fails with whose call does not fit into a budget."""
    found = answer.budget
    whose = _WHOSE[found["scope"]].format(name=found["name"])
    period = "" if found["period"] == "run" else f" for this {found['period']}"
    spent = f"{found['spent']} of {found['limit']} {found['measure']} are spent, and the next call may take up to {found['wanted']}"
    details = {"budget": found, "on_exceeded": found["on_exceeded"]}
    return StepFailed("budget_exceeded", f"the budget {whose}{period} is used up: {spent}", retryable=False, details=details)
