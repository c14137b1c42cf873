"""The way of one request to one model: layers around it (a cache, a budget, a limiter) that may answer, wait, or refuse in its place."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from runtime.ids import uuid7

if TYPE_CHECKING:  # pydantic_ai costs a process 1 s and 60 MB
    from pydantic_ai.messages import ModelMessage, ModelResponse
    from pydantic_ai.models import ModelRequestParameters
    from pydantic_ai.settings import ModelSettings

    from runtime.agents.providers import Choice


@dataclass(slots=True, eq=False)
class Call:
    """One request on its way, and what layers note about it."""

    id: str = field(default_factory=uuid7)
    seconds: float | None = None
    """How long the provider took; None: it was not asked."""
    reserved: bool = False
    """Something is held back for it in budgets."""


@dataclass(frozen=True, slots=True)
class Request:
    """What one model is asked."""

    choice: "Choice"
    messages: "list[ModelMessage]"
    settings: "ModelSettings | None"
    parameters: "ModelRequestParameters"
    patience: float | None = None
    """Seconds it may be waited for, because another model stands by; None: as long as the step allows."""
    call: Call = field(default_factory=Call)


Ask = Callable[[Request], Awaitable["ModelResponse"]]
"""Gives the model's answer. Raises StepFailed."""
Layer = Callable[[Request, Ask], Awaitable["ModelResponse"]]
"""Gives an answer, as a rule by asking what lies beneath it, which it may do once, again, or never. Raises StepFailed.

It is passed by requests that go out, never by those whose answer the journal has; one request for each model of a fallback list that is asked.
"""


def through(layers: Sequence[Layer], ask: Ask) -> Ask:
    """`ask` behind all `layers`, the first of which is the outermost."""
    for layer in reversed(layers):
        ask = _behind(layer, ask)
    return ask


def _behind(layer: Layer, ask: Ask) -> Ask:
    return lambda request: layer(request, ask)
