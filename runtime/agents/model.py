"""A model whose every request goes through the ledger, is measured, and goes on to the next model when one cannot answer."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

from pydantic_ai.messages import ModelMessage, ModelMessagesTypeAdapter, ModelResponse
from pydantic_ai.models import ModelRequestParameters
from pydantic_ai.models.fallback import FallbackModel
from pydantic_ai.models.wrapper import WrapperModel
from pydantic_ai.settings import ModelSettings

from runtime.agents import prices
from runtime.agents.asked import of_model
from runtime.agents.asking import Call, Layer, Request, through
from runtime.agents.caching import CACHED, SAVED_USD
from runtime.agents.context import Observe
from runtime.agents.factories import FACTORIES, REQUEST_SECONDS
from runtime.agents.failures import classify
from runtime.agents.ledger import Ledger
from runtime.agents.paid import usage_of
from runtime.agents.providers import Choice, Providers
from runtime.agents.streaming import Streaming
from runtime.errors import StepFailed

MOVES_ON = frozenset({"provider_unavailable", "timeout", "rate_limited", "quota_exceeded", "content_filtered", "context_too_long", "model_not_found"})
"""Codes after which the next model is asked: another one may do better. A wrong key or a bad request would only be hidden by it."""
PATIENCE_SECONDS = 10.0
"""So long, all in all, one call waits for a model that asks to be called again, when there is another model; without one the engine waits."""
ANSWERED_BY = "answered_by"
"""Where a response's metadata keeps the model, as the definition writes it."""


class LedgerModel(WrapperModel):
    """Gives responses back from the ledger, or asks a model and records what it says. Raises StepFailed only.

    With several models, the first is asked until it cannot answer, then the next, and so on for all later calls; whoever came last is
    followed by the first, for the next attempt. Each such decision is in the ledger before the next model is asked.
    """

    def __init__(
        self,
        choices: Sequence[Choice],
        ledger: Ledger,
        providers: Providers,
        observe: Observe | None,
        layers: Sequence[Layer] = (),
        streaming: Streaming | None = None,
    ) -> None:
        """`layers`: what each request to a model passes, outermost first. `streaming`: how it is made in the end; plainly when absent."""
        # Several models are prepared for one by one, when their turn comes: that is what the fallback model leaves to us.
        super().__init__(choices[0].model if len(choices) == 1 else FallbackModel(*[choice.model for choice in choices]))
        self._choices, self._ledger, self._providers, self._observe = list(choices), ledger, providers, observe
        self._send = through(layers, self._sent)
        self._streaming = streaming or Streaming(None, "auto", structured=False)
        self._cached, self._saved_usd = 0, 0.0
        self._call = Call()
        ids = [choice.model_id for choice in choices]
        decided = (ledger.moved or {}).get("model")
        self._place = ids.index(decided) if decided in ids else 0

    async def request(self, messages: list[ModelMessage], model_settings: ModelSettings | None, parameters: ModelRequestParameters) -> ModelResponse:
        fresh: list[ModelResponse] = []

        async def ask() -> Any:
            fresh.append(await self._first_answer(messages, model_settings, parameters))
            return ModelMessagesTypeAdapter.dump_python([*fresh], mode="json", exclude_none=True)[0]

        def usage(result: Any) -> dict[str, Any]:
            return usage_of(fresh[0] if fresh else _validated(result), self.current, self._call)

        body = await self._ledger.call("model", ask, usage=usage, asked=lambda: of_model(messages, parameters))
        response = fresh[0] if fresh else _validated(body)
        if (response.metadata or {}).get(CACHED):
            self._cached += 1
            self._saved_usd += (response.metadata or {}).get(SAVED_USD) or 0.0
        return response

    @property
    def saved(self) -> dict[str, Any]:
        """What earlier answers were given instead of asked for, for the usage of the step."""
        return {CACHED: self._cached, SAVED_USD: round(self._saved_usd, 9)} if self._cached else {}

    @property
    def secrets(self) -> tuple[str, ...]:
        """Texts that must not appear in any message about these models."""
        return tuple({secret for choice in self._choices for secret in choice.secrets})

    @property
    def current(self) -> Choice:
        """The model that is asked now."""
        return self._choices[self._place]

    async def _first_answer(self, messages: list[ModelMessage], settings: ModelSettings | None, parameters: ModelRequestParameters) -> ModelResponse:
        """The answer of the first model that has one; StepFailed of the last that was asked when none has."""
        tried, patience, renewed = 0, PATIENCE_SECONDS, False
        while True:
            choice = self.current
            refusal = None
            try:
                response = await self._ask(choice, messages, settings, parameters)
                if not _refuses(response) or len(self._choices) == 1:
                    response.metadata = {**(response.metadata or {}), ANSWERED_BY: choice.model_id}
                    return response
                refusal, failed = response, StepFailed("content_filtered", f"{choice.provider} refuses the content", retryable=False)
            except StepFailed as error:
                if error.error_code == "provider_unauthorized" and not renewed and await self._renewed():
                    renewed = True
                    continue
                if len(self._choices) == 1 or error.error_code not in MOVES_ON:
                    raise
                failed = error
            pause = failed.retry_after if failed.error_code == "rate_limited" else None
            if pause is not None and pause <= patience:
                patience -= max(pause, 1.0)
                await asyncio.sleep(pause)
                continue
            tried += 1
            await self._move_on(failed, refusal)
            if tried == len(self._choices):
                raise failed

    async def _move_on(self, failed: StepFailed, refusal: ModelResponse | None) -> None:
        self._streaming.void(failed.error_code, call=self._ledger.made("model"))
        before, self._place = self.current, (self._place + 1) % len(self._choices)
        told = {"model": self.current.model_id, "instead_of": before.model_id, "because": failed.error_code}
        paid = None if refusal is None else usage_of(refusal, before, self._call)
        await self._ledger.move(told, paid)

    async def _renewed(self) -> bool:
        """Whether there is another key by now, which the next request then goes out with."""
        fresh = await self._providers.renew(self.current)
        if fresh is not None:
            self._choices[self._place] = fresh
        return fresh is not None

    async def _ask(self, choice: Choice, messages: list[ModelMessage], settings: ModelSettings | None, parameters: ModelRequestParameters) -> ModelResponse:
        if len(self._choices) > 1:
            messages = choice.model.prepare_messages(messages, parameters)
        request = Request(choice, messages, settings, parameters, PATIENCE_SECONDS if len(self._choices) > 1 else None)
        self._call = request.call
        try:
            return await self._send(request)
        except Exception as error:
            raise classify(error, choice.provider, self.secrets) from error

    async def _sent(self, request: Request) -> ModelResponse:
        """What the provider answers, its time measured."""
        choice, settings = request.choice, request.settings
        started, status = time.perf_counter(), "canceled"
        # A model that never answers must leave time for the others.
        seconds = float((settings or {}).get("timeout", REQUEST_SECONDS)) / len(self._choices)  # type: ignore[arg-type]  # ours is a number
        if settings is not None and not FACTORIES[choice.provider].timed:
            settings = ModelSettings(**{name: value for name, value in settings.items() if name != "timeout"})  # type: ignore[typeddict-item]  # ours, without one
        try:
            # The client's own timeout is for each read: an answer that drips for ever never meets it.
            async with asyncio.timeout(seconds):
                response = await self._streaming.ask(choice.model, request.messages, settings, request.parameters, call=self._ledger.made("model"))
            prices.note(response)
            status = "success"
        except Exception as error:
            failed = classify(error, choice.provider, self.secrets)
            status = failed.error_code
            raise failed from error
        finally:
            if status != "success":
                self._streaming.void(status, call=self._ledger.made("model"))
            request.call.seconds = time.perf_counter() - started
            if self._observe is not None:
                self._observe(choice.provider, status, request.call.seconds)
        return response


def answered_by(messages: Sequence[ModelMessage]) -> str | None:
    """Which model gave the last of these responses, as the definition writes it; None when the journal does not say."""
    said = [message for message in messages if isinstance(message, ModelResponse)]
    return (said[-1].metadata or {}).get(ANSWERED_BY) if said else None


def _refuses(response: ModelResponse) -> bool:
    return response.finish_reason == "content_filter"


def _validated(body: Any) -> ModelResponse:
    """The response a journal or a cassette holds."""
    (message,) = ModelMessagesTypeAdapter.validate_python([body])
    if not isinstance(message, ModelResponse):
        raise TypeError("a journalled model call holds no response")
    return message
