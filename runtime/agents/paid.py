"""What the journal says of a model call that was answered: everything its row of the ledger needs."""

from typing import TYPE_CHECKING, Any

from runtime.agents import prices
from runtime.agents.asking import Call
from runtime.money.amounts import written

if TYPE_CHECKING:  # as in asking.py
    from pydantic_ai.messages import ModelResponse

    from runtime.agents.providers import Choice

CACHED = "cached"
"""Where a response's metadata says that it was taken from the cache."""


def usage_of(response: "ModelResponse", choice: "Choice", call: Call) -> dict[str, Any]:
    """`{call, provider, model, answered?, input_tokens, cached_tokens, output_tokens, reasoning_tokens, usd?, prices?, latency_ms?, cached?,
    reserved?}`. `usd` is text, and absent when the price is not known; an answer from the cache has cost nothing."""
    usage, cached = response.usage, bool((response.metadata or {}).get(CACHED))
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
        "cached": cached or None,
        "reserved": call.reserved or None,
    }
    return found | {name: value for name, value in more.items() if value is not None}
