"""The most that a request can cost, known before it goes out.

A token is at least one byte of text, so a request has at most as many tokens as it has bytes, written out whole, and a little for what the
provider puts around it. An answer has at most `max_tokens`; a step that names none gets OUTPUT_TOKENS while a budget holds.
"""

import base64
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from runtime.agents import prices
from runtime.agents.asking import Request
from runtime.money.amounts import ZERO, Amount

if TYPE_CHECKING:  # as in asking.py
    from pydantic_ai.messages import ModelMessage

OUTPUT_TOKENS = 16_384
"""Of an answer, thoughts included, when its step does not name `max_tokens`."""
AROUND_TOKENS = 1_000
"""For what providers put around a request, and for tools before they are described: Anthropic's preamble has about 500."""
IMAGE_TOKENS = 20_000
"""Of one image at most, however many bytes it has."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A request that keeps to its bounds, the most it can cost, and whether that includes its price."""

    request: Request
    most: Amount
    priced: bool


def estimate(request: Request) -> Estimate:
    """The bounds of a request."""
    settings: dict[str, Any] = {**(request.settings or {})}
    output = settings.setdefault("max_tokens", OUTPUT_TOKENS)
    given = input_tokens(request)
    usd = prices.most(request.choice, given, output)
    bounded = replace(request, settings=settings)  # type: ignore[arg-type]  # ModelSettings, and one more of its fields
    priced = usd is not None or request.choice.provider in prices.FREE_OF_PRICE
    return Estimate(bounded, Amount(ZERO if usd is None else Decimal(usd), given + output, 1), priced)


def input_tokens(request: Request) -> int:
    """At most so many tokens does a request have."""
    from pydantic_ai.messages import ModelMessagesTypeAdapter
    from pydantic_core import to_json

    parameters = request.parameters
    tools = [*parameters.function_tools, *parameters.output_tools]
    described = to_json([(tool.name, tool.description, tool.parameters_json_schema) for tool in tools])
    shape = to_json(parameters.output_object, fallback=str)
    whole = len(ModelMessagesTypeAdapter.dump_json(request.messages)) + len(described) + len(shape)
    return whole - _beyond_images(request.messages) + AROUND_TOKENS


def _beyond_images(messages: "list[ModelMessage]") -> int:
    """Bytes of images that are no tokens, as the messages were written out: in base64."""
    contents: list[Any] = [getattr(part, "content", None) for message in messages for part in message.parts]
    images = [one for content in contents if isinstance(content, list) for one in content if _is_image(one)]
    return sum(max(0, len(base64.b64encode(image.data)) - IMAGE_TOKENS) for image in images)


def _is_image(content: Any) -> bool:
    from pydantic_ai.messages import BinaryContent

    return isinstance(content, BinaryContent) and content.media_type.startswith("image/")
