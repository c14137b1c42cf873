"""How much a provider may be asked with one key: a setting of the operator, and what a tenant stores beside its key."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

MAX_LIMIT = 10**9

Count = Annotated[int, Field(ge=1, le=MAX_LIMIT)]


class ProviderLimits(BaseModel):
    """What is absent is not limited. Of several that apply, the lowest counts."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    requests_per_minute: Count | None = None
    tokens_per_minute: Count | None = None
    """Of questions and answers together."""
    in_flight: Count | None = None
    """Requests that have no answer yet."""

    def lowest(self, other: "ProviderLimits") -> "ProviderLimits":
        """Each limit as the stricter of the two has it."""
        return ProviderLimits(
            requests_per_minute=_lower(self.requests_per_minute, other.requests_per_minute),
            tokens_per_minute=_lower(self.tokens_per_minute, other.tokens_per_minute),
            in_flight=_lower(self.in_flight, other.in_flight),
        )

    @property
    def some(self) -> bool:
        """Whether anything is limited."""
        return self != NO_LIMITS


def _lower(one: int | None, other: int | None) -> int | None:
    return one if other is None or (one is not None and one < other) else other


NO_LIMITS = ProviderLimits()
