"""What model calls cost, by the price table that comes with pydantic-ai. It is a part of the installation: nothing is fetched."""

from decimal import Decimal
from typing import TYPE_CHECKING

from runtime.errors import StepFailed
from runtime.money.amounts import dollars

if TYPE_CHECKING:  # pydantic_ai costs a process 1 s and 60 MB
    from pydantic_ai.messages import ModelResponse

    from runtime.agents.providers import Choice

FREE_OF_PRICE = frozenset({"openai-compatible"})
"""Providers whose models have no price as a rule: servers of one's own. Under a budget in dollars their calls count as nothing."""


def table() -> str:
    """The price table and its version."""
    import genai_prices

    return f"genai-prices {genai_prices.__version__}"


def paid(response: "ModelResponse") -> Decimal | None:
    """What this answer has cost: as the provider says, or by the table; None when neither knows."""
    if response.usage.cost is not None:
        return dollars(response.usage.cost)
    try:
        return dollars(response.cost().total_price)
    except (LookupError, ValueError, AssertionError):  # an unknown model, usage that makes no sense, no name of a model
        return None


def most(choice: "Choice", input_tokens: int, output_tokens: int) -> Decimal | None:
    """What a request of at most so many tokens can cost at most; None when the price of the model is not known."""
    from genai_prices import Usage, calc_price

    usage, name = Usage(input_tokens=input_tokens, output_tokens=output_tokens), choice.model.model_name
    for known in ({"provider_api_url": choice.model.base_url}, {"provider_id": choice.model.system}):
        if None in known.values():
            continue
        try:
            return dollars(calc_price(usage, name, **known).total_price)
        except (LookupError, ValueError):
            continue
    return None


def unpriced(choice: "Choice") -> StepFailed:
    """Why a model that costs nobody knows what is not asked."""
    message = f"the price of {choice.model_id} is not known, and a budget in dollars holds here: give it in tokens or calls, or name another model"
    return StepFailed("price_unknown", message, retryable=False)
