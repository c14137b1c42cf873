"""What one request to a model took, for traces and metrics: the innermost layer, so that neither a cache's answers nor waiting for leave counts."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from runtime.agents import prices
from runtime.agents.asking import Ask, Layer, Request
from runtime.metrics import Spent
from runtime.tracing import names
from runtime.tracing.attempts import AttemptSpan

if TYPE_CHECKING:  # pydantic_ai costs a process 1 s and 60 MB
    from pydantic_ai.messages import ModelResponse


def watched(span: AttemptSpan | None, spend: Callable[[Spent], None] | None) -> list[Layer]:
    """The layers that watch: none where nobody wants to know."""
    if span is None and spend is None:
        return []

    async def counted(request: Request, ask: Ask) -> "tuple[ModelResponse, Spent]":
        begun = time.perf_counter()
        response = await ask(request)
        spent = _spent(request, response, time.perf_counter() - begun)
        if spend is not None:
            spend(spent)
        return response, spent

    async def watch(request: Request, ask: Ask) -> "ModelResponse":
        if span is None:
            return (await counted(request, ask))[0]
        model = _name(request)
        with span.inside(f"{names.CHAT} {model}", _asked(request, model, span)) as opened:
            response, spent = await counted(request, ask)
            opened.attributes |= _answered(response, spent, span)
            return response

    return [watch]


def _name(request: Request) -> str:
    """The model without its provider."""
    return request.choice.model_id.partition(":")[2]


def _asked(request: Request, model: str, span: AttemptSpan) -> dict[str, Any]:
    provider = request.choice.provider
    return {
        names.OPERATION: names.CHAT,
        names.PROVIDER: names.PROVIDERS.get(provider, provider),
        names.REQUEST_MODEL: model,
        names.INPUT_MESSAGES: span.tracer.shown(request.messages) if span.tracer.content else None,
    }


def _answered(response: "ModelResponse", spent: Spent, span: AttemptSpan) -> dict[str, Any]:
    return {
        names.RESPONSE_MODEL: response.model_name,
        names.INPUT_TOKENS: spent.input_tokens,
        names.OUTPUT_TOKENS: spent.output_tokens,
        names.COST: spent.cost_usd,
        names.FINISH_REASONS: None if response.finish_reason is None else [response.finish_reason],
        names.OUTPUT_MESSAGES: span.tracer.shown(response) if span.tracer.content else None,
    }


def _spent(request: Request, response: "ModelResponse", seconds: float) -> Spent:
    usage, usd = response.usage, prices.paid(response)
    return Spent(request.choice.provider, _name(request), seconds, usage.input_tokens, usage.output_tokens, None if usd is None else float(usd))
