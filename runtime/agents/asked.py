"""What a call asks for, as a hash: by it a replay notices that a step asks something else than it did when it was recorded.

It covers what an author can change, and nothing that differs from run to run: no times, no ids of calls.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # pydantic_ai costs a process 1 s and 60 MB
    from pydantic_ai.messages import ModelMessage
    from pydantic_ai.models import ModelRequestParameters

DIGITS = 24
"""Hexadecimal digits of a hash: it tells requests of one step apart, and protects nothing."""


def of_model(messages: "Sequence[ModelMessage]", parameters: "ModelRequestParameters") -> str:
    """The hash of a model request: instructions, messages, and the names of the tools."""
    names = [tool.name for tool in (*parameters.function_tools, *parameters.output_tools)]
    said = [part for message in messages for part in _parts(message)]
    return _hash([names, said])


def of_tool(name: str, args: dict[str, Any]) -> str:
    """The hash of a tool call."""
    return _hash([name, args])


def _parts(message: "ModelMessage") -> Iterator[Any]:
    instructions = getattr(message, "instructions", None)
    if instructions:
        yield ["instructions", instructions]
    for part in message.parts:
        arguments = getattr(part, "args", None)
        if isinstance(arguments, str):
            arguments = _parsed(arguments)
        yield [part.part_kind, getattr(part, "tool_name", None), arguments, _content(getattr(part, "content", None))]


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _content(content: Any) -> Any:
    if isinstance(content, list | tuple):
        return [_content(part) for part in content]
    data = getattr(content, "data", None)
    return hashlib.sha256(data).hexdigest() if isinstance(data, bytes) else content


def _hash(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, ensure_ascii=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:DIGITS]
