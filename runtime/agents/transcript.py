"""Between our messages and pydantic-ai's."""

import json
from collections.abc import Collection, Sequence
from typing import Any

from pydantic_ai.messages import (
    ModelMessage,
    ModelRequest,
    ModelRequestPart,
    ModelResponse,
    ModelResponsePart,
    RetryPromptPart,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)

from runtime.agents.messages import as_text


def to_model(messages: Sequence[dict[str, Any]], *, tools: bool) -> list[ModelMessage]:
    """Our messages for a model. To one without `tools`, which may not be told of calls, what they gave is told as text."""
    made: list[ModelMessage] = []
    for message in messages:
        if message["role"] == "assistant":
            parts = _response_parts(message, tools=tools)
            if parts:
                made.append(ModelResponse(parts))
        elif made and isinstance(made[-1], ModelRequest):
            made[-1] = ModelRequest([*made[-1].parts, _request_part(message, tools=tools)])
        else:
            made.append(ModelRequest([_request_part(message, tools=tools)]))
    return made


def _response_parts(message: dict[str, Any], *, tools: bool) -> list[ModelResponsePart]:
    parts: list[ModelResponsePart] = [TextPart(message["content"])] if message["content"] else []
    if tools:
        parts += [ToolCallPart(call["name"], call["arguments"], call["id"]) for call in message.get("tool_calls", ())]
    return parts


def _request_part(message: dict[str, Any], *, tools: bool) -> ModelRequestPart:
    if message["role"] == "user":
        return UserPromptPart(as_text(message))
    if tools:
        return ToolReturnPart(message["name"], message["content"], message["tool_call_id"])
    return UserPromptPart(f"[{message['name']} said] {message['content']}")


def tool_talk(messages: Sequence[ModelMessage], tools: Collection[str]) -> list[dict[str, Any]]:
    """What a model and these tools said to each other; the prompt before it and the answer after it are left out."""
    told: list[dict[str, Any]] = []
    for message in messages:
        if isinstance(message, ModelResponse):
            calls = [part for part in message.parts if isinstance(part, ToolCallPart) and part.tool_name in tools]
            if calls:
                told.append({"role": "assistant", "content": message.text or "", "tool_calls": [_call(part) for part in calls]})
        else:
            told += [_result(part) for part in message.parts if isinstance(part, ToolReturnPart | RetryPromptPart) and part.tool_name in tools]
    return told


def _call(part: ToolCallPart) -> dict[str, Any]:
    return {"id": part.tool_call_id, "name": part.tool_name, "arguments": _arguments(part)}


def _arguments(part: ToolCallPart) -> dict[str, Any]:
    # What a model wrote for arguments may be no JSON; it was told so then, and that it called is what matters now.
    try:
        found = json.loads(part.args) if isinstance(part.args, str) else part.args
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _result(part: ToolReturnPart | RetryPromptPart) -> dict[str, Any]:
    content = part.model_response_str() if isinstance(part, ToolReturnPart) else part.model_response()
    return {"role": "tool", "content": content, "tool_call_id": part.tool_call_id, "name": part.tool_name}
