"""What model calls cost, by the price table that comes with pydantic-ai. It is a part of the installation: nothing is fetched."""

from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING

from runtime.errors import StepFailed
from runtime.money.amounts import dollars

if TYPE_CHECKING:  # pydantic_ai costs a process 1 s and 60 MB
    from genai_prices import Usage
    from genai_prices.types import PriceCalculation
    from pydantic_ai.messages import ModelResponse

    from runtime.agents.providers import Choice

FREE_OF_PRICE = frozenset({"openai-compatible"})
"""Providers whose models have no price as a rule: servers of one's own. Under a budget in dollars their calls count as nothing."""


def table() -> str:
    """The price table and its version."""
    import genai_prices

    return f"genai-prices {genai_prices.__version__}"


def note(response: "ModelResponse") -> None:
    """Write down in the answer what it has cost, once: looking a model up goes through all models of its provider."""
    response.usage.cost = paid(response)


def paid(response: "ModelResponse") -> Decimal | None:
    """What this answer has cost: as the provider says, or by the table; None when neither knows."""
    if response.usage.cost is not None:
        return dollars(response.usage.cost)
    if not _listed(response.model_name, response.provider_url, response.provider_name):
        return None
    try:
        return dollars(response.cost().total_price)
    except (LookupError, ValueError, AssertionError):  # no price for that time, usage that makes no sense
        return None


def most(choice: "Choice", input_tokens: int, output_tokens: int) -> Decimal | None:
    """What a request of at most so many tokens can cost at most; None when the price of the model is not known."""
    from genai_prices import Usage

    usage = Usage(input_tokens=input_tokens, output_tokens=output_tokens)
    try:
        return dollars(_price(usage, choice.model.model_name, choice.model.base_url, choice.model.system).total_price)
    except (LookupError, ValueError):
        return None


@lru_cache(maxsize=1024)
def _listed(name: str | None, url: str | None, provider: str | None) -> bool:
    """Whether the table has the model at all, which takes as long to find out as its price."""
    from genai_prices import Usage

    try:
        _price(Usage(), name, url, provider)
    except LookupError:
        return False
    except ValueError:  # it is there, and does not like to be asked for nothing
        return True
    return True


def _price(usage: "Usage", name: str | None, url: str | None, provider: str | None) -> "PriceCalculation":
    """By the address, which says more, or by the provider's name. Raises LookupError, ValueError."""
    from genai_prices import calc_price

    if name is None or (url is None and provider is None):
        raise LookupError(name)
    if url is not None:
        try:
            return calc_price(usage, name, provider_api_url=url)
        except LookupError:
            if provider is None:
                raise
    return calc_price(usage, name, provider_id=provider)


def unpriced(choice: "Choice") -> StepFailed:
    """Why a model that costs nobody knows what is not asked."""
    message = f"the price of {choice.model_id} is not known, and a budget in dollars holds here: give it in tokens or calls, or name another model"
    return StepFailed("price_unknown", message, retryable=False)
