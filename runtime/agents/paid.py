"""What the journal says of a model call that was answered: everything its row of the ledger needs."""

from typing import TYPE_CHECKING, Any

from runtime.agents import prices
from runtime.agents.asking import Call
from runtime.agents.caching import CACHED, SAVED_USD
from runtime.money.amounts import written

if TYPE_CHECKING:  # as in asking.py
    from pydantic_ai.messages import ModelResponse

    from runtime.agents.providers import Choice


def usage_of(response: "ModelResponse", choice: "Choice", call: Call) -> dict[str, Any]:
    """`{call, provider, model, answered?, input_tokens, cached_tokens, output_tokens, reasoning_tokens, usd?, prices?, latency_ms?, cached?,
    saved_usd?, reserved?}`. `usd` is text, and absent when the price is not known; an answer from the cache has cost nothing."""
    usage, told = response.usage, response.metadata or {}
    cached = bool(told.get(CACHED))
    usd = None if cached else prices.paid(response)
    found: dict[str, Any] = {
        "call": call.id,
        "provider": choice.provider,
        "model": choice.model_id,
        "input_tokens": usage.input_tokens,
        "cached_tokens": usage.cache_read_tokens,
        "output_tokens": usage.output_tokens,
        "reasoning_tokens": usage.output_reasoning_tokens,
    }
    more = {
        "answered": response.model_name,
        "usd": "0" if cached else None if usd is None else written(usd),
        "prices": None if usd is None else prices.table(),
        "latency_ms": None if call.seconds is None else round(call.seconds * 1000),
        CACHED: cached or None,
        SAVED_USD: told.get(SAVED_USD) if cached else None,
        "reserved": call.reserved or None,
    }
    return found | {name: value for name, value in more.items() if value is not None}
