"""A model whose every request goes through the ledger, and is measured."""

import asyncio
import time
from typing import Any

from pydantic_ai.messages import ModelMessage, ModelMessagesTypeAdapter, ModelResponse
from pydantic_ai.models import ModelRequestParameters
from pydantic_ai.models.wrapper import WrapperModel
from pydantic_ai.settings import ModelSettings

from runtime.agents.context import Observe
from runtime.agents.failures import classify
from runtime.agents.ledger import Ledger
from runtime.agents.providers import REQUEST_SECONDS, Choice


class LedgerModel(WrapperModel):
    """Gives responses back from the ledger, or asks the wrapped model and records what it says. Raises StepFailed only."""

    def __init__(self, choice: Choice, ledger: Ledger, observe: Observe | None) -> None:
        super().__init__(choice.model)
        self._choice, self._ledger, self._observe = choice, ledger, observe

    async def request(self, messages: list[ModelMessage], model_settings: ModelSettings | None, parameters: ModelRequestParameters) -> ModelResponse:
        fresh: list[ModelMessage] = []

        async def ask() -> Any:
            fresh.append(await self._ask(messages, model_settings, parameters))
            return ModelMessagesTypeAdapter.dump_python(fresh, mode="json", exclude_none=True)[0]

        body = await self._ledger.call("model", ask, usage=_usage)
        return _response(fresh[0] if fresh else ModelMessagesTypeAdapter.validate_python([body])[0])

    async def _ask(self, messages: list[ModelMessage], settings: ModelSettings | None, parameters: ModelRequestParameters) -> ModelResponse:
        started = time.perf_counter()
        status = "canceled"
        try:
            # The client's own timeout is for each read: an answer that drips for ever never meets it.
            async with asyncio.timeout((settings or {}).get("timeout", REQUEST_SECONDS)):
                response = await self.wrapped.request(messages, settings, parameters)
            status = "success"
        except Exception as error:
            failed = classify(error, self._choice)
            status = failed.error_code
            raise failed from error
        finally:
            if self._observe is not None:
                self._observe(self._choice.provider, status, time.perf_counter() - started)
        return response


def _response(message: ModelMessage) -> ModelResponse:
    if not isinstance(message, ModelResponse):
        raise TypeError("a journalled model call holds no response")
    return message


def _usage(body: dict[str, Any]) -> dict[str, Any]:
    usage = body.get("usage", {})
    return {name: usage[name] for name in ("input_tokens", "output_tokens", "cost") if name in usage}
