"""What a model is told of a tool: a name, what it does, and the JSON Schema of its arguments, all taken from the function."""

import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import entry_points
from typing import Any, get_type_hints

from pydantic import ConfigDict, PydanticSchemaGenerationError, PydanticUserError, create_model

from runtime.agents.context import AgentContext, Callee
from runtime.errors import StepFailed

GROUP = "agentic_workflows.tools"
"""Installed packages register tools in this entry-point group: the name a definition uses, and `module:function`."""

CONTEXT = "context"
MAX_DESCRIPTION = 2_000


@dataclass(frozen=True, slots=True)
class Tool:
    """A function as a model sees it."""

    name: str
    description: str
    parameters: dict[str, Any]
    """JSON Schema of an object."""
    callee: Callee


def tools_of(references: Sequence[str], context: AgentContext) -> list[Tool]:
    """The tools an agent names, in its order.

    Raises StepFailed, never retryable: what `context.resolve` raises, `tool_not_found`, or `tool_invalid` for two tools of one name or
    a function whose parameters have no JSON Schema.
    """
    tools = [_tool(reference, context.resolve(_function_reference(reference))) for reference in references]
    names = [tool.name for tool in tools]
    for name in names:
        if names.count(name) > 1:
            raise StepFailed("tool_invalid", f"two tools of this agent are called '{name}'", retryable=False)
    return tools


def _function_reference(reference: str) -> str:
    if ":" in reference:
        return reference
    registered = _registered().get(reference)
    if registered is None:
        known = ", ".join(sorted(_registered())) or "none"
        raise StepFailed("tool_not_found", f"there is no tool '{reference}'; registered: {known}; or write module:function", retryable=False)
    return registered


@lru_cache(maxsize=1)
def _registered() -> dict[str, str]:
    return {point.name: point.value for point in entry_points(group=GROUP)}


def _tool(reference: str, callee: Callee) -> Tool:
    name = re.sub(r"[^A-Za-z0-9_-]", "_", reference.rpartition(":")[2])[:64]
    return Tool(name, description_of(callee.function), schema_of(callee.function), callee)


@lru_cache(maxsize=1024)
def description_of(function: Callable[..., Any]) -> str:
    """The function's docstring, bounded, or its name in words."""
    text = inspect.getdoc(function) or function.__name__.replace("_", " ")
    return text[:MAX_DESCRIPTION]


@lru_cache(maxsize=1024)
def schema_of(function: Callable[..., Any]) -> dict[str, Any]:
    """JSON Schema of the function's keyword arguments, `context` left out. Raises StepFailed `tool_invalid`."""
    fields: dict[str, Any] = {}
    try:
        hints = get_type_hints(function, include_extras=True)
        for parameter in inspect.signature(function).parameters.values():
            if parameter.name == CONTEXT or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                continue
            default = ... if parameter.default is parameter.empty else parameter.default
            fields[parameter.name] = (hints.get(parameter.name, Any), default)
        model = create_model("Arguments", __config__=ConfigDict(extra="forbid"), **fields)
        schema = model.model_json_schema()
    except (NameError, TypeError, ValueError, PydanticSchemaGenerationError, PydanticUserError) as error:
        raise StepFailed("tool_invalid", f"{function.__module__}:{function.__qualname__} has no JSON Schema: {error}"[:1000], retryable=False) from error
    schema.pop("title", None)
    return schema
