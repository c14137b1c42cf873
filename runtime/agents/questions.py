"""What makes two requests to a model the same question: everything the model is shown or told, and nothing else."""

import hashlib
from collections.abc import Sequence
from typing import Any

from pydantic_ai.messages import ModelMessage, ModelMessagesTypeAdapter
from pydantic_ai.tools import ToolDefinition
from pydantic_core import to_json

from runtime.agents.asking import Request

FORM = 1
"""Counted up when something below changes what a digest means."""
MESSAGE = ("kind", "parts", "instructions")
NOT_SHOWN = frozenset({"timestamp", "id", "provider_name", "provider_details", "metadata", "outcome"})
"""Fields of a part that differ from run to run, or that no model is shown."""


def digest_of(request: Request, tenant: str, scope: str) -> str:
    """The hash of the question, for this tenant and this scope (a workflow's name, or empty: all of the tenant's)."""
    parameters = request.parameters
    question = {
        "form": FORM,
        "tenant": tenant,
        "scope": scope,
        "provider": request.choice.provider,
        "base_url": request.choice.base_url,
        "model": request.choice.spot.model,
        "messages": _messages(request.messages),
        # How long somebody is willing to wait changes no answer.
        "settings": {name: value for name, value in (request.settings or {}).items() if name != "timeout"},
        "tools": [_tool(tool) for tool in parameters.function_tools],
        "output": [
            parameters.output_mode,
            parameters.allow_text_output,
            parameters.prompted_output_template,
            None if parameters.output_object is None else parameters.output_object.json_schema,
            [_tool(tool) for tool in parameters.output_tools],
        ],
    }
    return hashlib.sha256(to_json(_sorted(question))).hexdigest()


def _messages(messages: Sequence[ModelMessage]) -> list[Any]:
    """Ids of tool calls are drawn by chance: what counts is which call and which result belong together."""
    names: dict[str, str] = {}
    found = []
    for message in ModelMessagesTypeAdapter.dump_python(list(messages), mode="json"):
        told = {name: message[name] for name in MESSAGE if message.get(name) is not None}
        told["parts"] = [_part(part, names) for part in message["parts"]]
        found.append(told)
    return found


def _part(part: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    kept = {name: value for name, value in part.items() if name not in NOT_SHOWN and value is not None}
    if isinstance(call := kept.get("tool_call_id"), str):
        kept["tool_call_id"] = names.setdefault(call, str(len(names)))
    return kept


def _tool(tool: ToolDefinition) -> list[Any]:
    return [tool.name, tool.description, tool.parameters_json_schema, tool.strict]


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _sorted(value[name]) for name in sorted(value)}
    return [_sorted(part) for part in value] if isinstance(value, list | tuple) else value
