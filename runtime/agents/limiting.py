"""The layer that waits for the limiter: a request goes out when its key may be asked, and says afterwards what the provider said."""

import time
from typing import TYPE_CHECKING, Protocol

from runtime.agents.asking import Ask, Request
from runtime.agents.hearing import listening
from runtime.errors import StepFailed
from runtime.limits.limiter import Limiter, Permit
from runtime.limits.messages import News
from runtime.limits.seen import seen

if TYPE_CHECKING:  # pydantic_ai costs a process 1 s and 60 MB
    from pydantic_ai.messages import ModelResponse

REPEATS = 3
"""So often a refused request is sent again without using an attempt of its step up."""
WAIT_SECONDS = 3600.0
"""So long a request waits for the limiter, all in all, when its step does not say."""


class Stopwatch(Protocol):
    """The timeout of an attempt."""

    def pause(self) -> None:
        """Time does not count from now on."""
        ...

    def resume(self) -> None:
        """It counts again."""
        ...


class Limiting:
    """A Layer, the innermost one, for one attempt. `wait`: seconds one request may wait, its repetitions included.

    Raises StepFailed `rate_limited` when that is over, or when the provider refuses the request again and again. With another model at hand
    a refusal is passed on at once, and the wait is as short as `Request.patience` says.
    """

    def __init__(self, limiter: Limiter, run: str, *, wait: float = WAIT_SECONDS, clock: Stopwatch | None = None) -> None:
        self._limiter, self._run, self._wait, self._clock = limiter, run, wait, clock

    async def __call__(self, request: Request, ask: Ask) -> "ModelResponse":
        until = time.monotonic() + self._wait
        if request.patience is not None:
            until = min(until, time.monotonic() + request.patience)
        sent = 0
        while True:
            permit = await self._permit(request, until)
            sent += 1
            try:
                return await self._ask(permit, request, ask)
            except StepFailed as error:
                soon = error.retry_after is None or time.monotonic() + error.retry_after < until
                if error.error_code != "rate_limited" or request.patience is not None or sent > REPEATS or not soon:
                    raise

    async def _permit(self, request: Request, until: float) -> Permit:
        spot = request.choice.spot
        if not self._limiter.limited(spot):
            return await self._limiter.permit(spot, self._run, 0, 0)
        from runtime.agents.estimating import estimated

        if self._clock is not None:
            self._clock.pause()
        try:
            return await self._limiter.permit(spot, self._run, estimated(request), max(0.0, until - time.monotonic()))
        finally:
            if self._clock is not None:
                self._clock.resume()

    async def _ask(self, permit: Permit, request: Request, ask: Ask) -> "ModelResponse":
        # A request that ends without a word, because it was canceled, has probably taken what was expected.
        used, refused, pause = permit.tokens, False, None
        with listening() as heard:
            try:
                response = await ask(request)
                used = response.usage.input_tokens + response.usage.output_tokens
                return response
            except StepFailed as error:
                refused, pause = error.error_code == "rate_limited", error.retry_after
                used = 0
                raise
            finally:
                said = seen(heard.headers, time.time())
                self._limiter.ended(permit, News(permit.spot, more_tokens=used - permit.tokens, seen=said, refused=refused, pause=pause))
