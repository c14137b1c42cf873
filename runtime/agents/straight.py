"""The straight way to an answer. Most agent steps ask once and get a text, and to those the loop adds nothing but half of what a call costs in CPU."""

from collections.abc import Sequence

from pydantic_ai.messages import InstructionPart, ModelMessage, ModelRequest, ModelResponse, TextPart, ThinkingPart, UserContent, UserPromptPart
from pydantic_ai.models import Model, ModelRequestParameters
from pydantic_ai.models.wrapper import WrapperModel
from pydantic_ai.settings import ModelSettings
from pydantic_ai.usage import RunUsage, UsageLimits

ENDS = frozenset({None, "stop"})
"""Reasons to finish after which a text is what the model wanted to say."""


class Answered(WrapperModel):
    """A model that has given its first answer already; what comes after it is asked of the model itself."""

    def __init__(self, model: Model, first: ModelResponse) -> None:
        super().__init__(model)
        self._first: ModelResponse | None = first

    async def request(self, messages: list[ModelMessage], model_settings: ModelSettings | None, parameters: ModelRequestParameters) -> ModelResponse:
        first, self._first = self._first, None
        return first if first is not None else await self.wrapped.request(messages, model_settings, parameters)


async def ask(model: Model, prompt: str | Sequence[UserContent], instructions: str, settings: ModelSettings) -> ModelResponse:
    """The answer to the very request that the loop of an agent without tools and without a history makes first. Raises what the model raises."""
    request = ModelRequest(parts=[UserPromptPart(prompt)], instructions=instructions or None)
    parts = [InstructionPart(instructions)] if instructions else None
    return await model.request([request], settings, ModelRequestParameters(instruction_parts=parts))


def text_of(response: ModelResponse) -> str | None:
    """The text, when the answer is one and nothing else, so that a loop would end with it; None when that is for the loop to decide."""
    if response.state != "complete" or response.finish_reason not in ENDS:
        return None
    if not all(isinstance(part, TextPart | ThinkingPart) for part in response.parts):
        return None
    return "".join(part.content for part in response.parts if isinstance(part, TextPart)) or None


def count(response: ModelResponse, usage: RunUsage, limits: UsageLimits) -> None:
    """Add what the answer took to `usage`, as the loop does. Raises UsageLimitExceeded."""
    usage.requests += 1
    usage.incr(response.usage)
    limits.check_tokens(usage)
