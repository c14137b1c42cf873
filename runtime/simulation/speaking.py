"""A scripted model, as the innermost layer of an agent's requests. Imports pydantic-ai: only steps with a script load this module."""

import json
from collections.abc import Callable
from typing import Any

from pydantic_ai.messages import ModelResponse, ModelResponsePart, TextPart, ToolCallPart
from pydantic_ai.models import ModelRequestParameters
from pydantic_ai.usage import RequestUsage

from runtime.agents.asking import Ask, Layer, Request
from runtime.errors import StepFailed
from runtime.simulation.replies import failure_of

TURN = frozenset({"text", "tool", "args", "tools", "output"})


def speaker(answer: Callable[[], Any], schema: Any) -> Layer:
    """A layer that answers each request with the next `answer`: a text, `{tool, args}`, `{tools: [{tool, args}, …]}`, `{output: JSON}` or `{fail: code}`.

    `schema` is the agent's, by which an output is handed over as the model was asked to.
    """
    turns = 0

    async def speak(request: Request, _ask: Ask) -> ModelResponse:
        nonlocal turns
        entry, turns = answer(), turns + 1
        if (failed := failure_of(entry)) is not None:
            raise failed
        parts = _parts(entry, request.parameters, schema, turns)
        usage = RequestUsage(input_tokens=len(str(request.messages)) // 4, output_tokens=len(str(entry)) // 4 + 1)
        return ModelResponse(parts, usage=usage, model_name=request.choice.model_id)

    return speak


def _parts(entry: Any, parameters: ModelRequestParameters, schema: Any, turn: int) -> list[ModelResponsePart]:
    if not isinstance(entry, dict):
        return [TextPart(entry)] if isinstance(entry, str) else _output(entry, parameters, schema)
    if not entry or not entry.keys() <= TURN:
        raise StepFailed("script_invalid", "write a model's answer as text, {tool, args}, {tools: [...]}, {output: ...} or {fail: code}", retryable=False)
    parts: list[ModelResponsePart] = [TextPart(entry["text"])] if "text" in entry else []
    calls = entry.get("tools") or ([entry] if "tool" in entry else [])
    parts += [ToolCallPart(call["tool"], call.get("args") or {}, f"call-{turn}-{place}") for place, call in enumerate(calls, 1)]
    return parts + (_output(entry["output"], parameters, schema) if "output" in entry else [])


def _output(value: Any, parameters: ModelRequestParameters, schema: Any) -> list[ModelResponsePart]:
    if not parameters.output_tools:
        return [TextPart(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))]
    direct = isinstance(schema, dict) and schema.get("type") == "object"
    return [ToolCallPart(parameters.output_tools[0].name, value if direct else {"value": value}, "answer")]
