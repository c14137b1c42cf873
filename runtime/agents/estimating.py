"""How many tokens a request will take, before anybody has counted them."""

from collections.abc import Sequence
from typing import Any

from pydantic_ai.messages import BinaryContent, ModelMessage

from runtime.agents.asking import Request

CHARACTERS = 4
"""Of one token, about."""
BINARY_TOKENS = 1_500
"""Of an image or a document."""
ANSWER_TOKENS = 500
"""When the request does not say how long the answer may be."""


def estimated(request: Request) -> int:
    """Question and answer together. Providers count in the same way before they answer: with what the answer may have at most."""
    tools = [*request.parameters.function_tools, *request.parameters.output_tools]
    offered = sum(len(tool.name) + len(tool.description or "") + len(str(tool.parameters_json_schema)) for tool in tools)
    characters, pictures = _said(request.messages)
    most = (request.settings or {}).get("max_tokens")
    return (characters + offered) // CHARACTERS + pictures * BINARY_TOKENS + (most if isinstance(most, int) else ANSWER_TOKENS)


def _said(messages: Sequence[ModelMessage]) -> tuple[int, int]:
    characters = pictures = 0
    for message in messages:
        characters += len(getattr(message, "instructions", None) or "")
        for part in message.parts:
            content: Any = getattr(part, "content", None)
            for piece in content if isinstance(content, list | tuple) else (content, getattr(part, "args", None)):
                if isinstance(piece, BinaryContent):
                    pictures += 1
                elif piece is not None:
                    characters += len(piece) if isinstance(piece, str) else len(str(piece))
    return characters, pictures
