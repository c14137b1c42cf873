"""What a model is told of a tool: a name, what it does, and the JSON Schema of its arguments, taken from a function or from whoever offers it."""

import inspect
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.metadata import entry_points
from typing import Any, get_type_hints

from pydantic import ConfigDict, PydanticSchemaGenerationError, PydanticUserError, create_model

from runtime.agents.context import AgentContext
from runtime.agents.ledger import Ledger
from runtime.definition.tools import NEVER
from runtime.definition.types import parse_duration
from runtime.errors import StepFailed

GROUP = "agentic_workflows.tools"
"""Installed packages register tools in this entry-point group: the name a definition uses, and `module:function`."""

CONTEXT = "context"
MAX_DESCRIPTION = 2_000


class ToolRefused(Exception):
    """A tool says no, in a sentence the model is told as it is."""


@dataclass(frozen=True, slots=True)
class Tool:
    """Something a model can call, as it sees it."""

    name: str
    description: str
    parameters: dict[str, Any]
    """JSON Schema of an object."""
    invoke: Callable[[dict[str, Any], str], Awaitable[Any]]
    """Calls it with these arguments. The text tells the call from all others of its step (or item), and is the same in every attempt."""
    approve: str = NEVER
    """`always`, `never`, or a condition over `args`: whether a person is asked before a call."""
    expires: int | None = None
    """Milliseconds a person has for that."""
    workflow: dict[str, Any] | None = None
    """`{workflow, version}`: a run of it carries each call out, and `invoke` is not used."""

    @property
    def may_wait(self) -> bool:
        """Whether a call may have to wait for somebody else."""
        return self.approve != NEVER or self.workflow is not None


async def tools_of(entries: Sequence[str | dict[str, Any]], context: AgentContext, ledger: Ledger) -> list[Tool]:
    """The tools an agent names, in its order. What others offer is asked for once and journalled, so that all attempts see the same tools.

    Raises StepFailed: what `context.resolve` and `context.toolsets` raise, `tool_not_found`, or `tool_invalid` for two tools of one name or
    a function whose parameters have no JSON Schema.
    """
    foreign = [entry for entry in entries if not isinstance(entry, str) and not is_function(entry)]
    offered = iter(await _offered(foreign, context, ledger) if foreign else ())
    tools: list[Tool] = []
    for entry in entries:
        found = [_function_tool(entry if isinstance(entry, str) else entry["function"], context)] if is_function(entry) else next(offered)
        tools += found if isinstance(entry, str) else [_with_consent(tool, entry) for tool in found]
    return _distinct(tools)


def is_function(entry: str | dict[str, Any]) -> bool:
    """Whether an entry names a function, which needs nobody to describe it."""
    return isinstance(entry, str) or "function" in entry


def _with_consent(tool: Tool, entry: dict[str, Any]) -> Tool:
    expires = entry.get("expires")
    return replace(tool, approve=entry.get("approve", NEVER), expires=None if expires is None else parse_duration(expires))


async def _offered(entries: list[dict[str, Any]], context: AgentContext, ledger: Ledger) -> list[list[Tool]]:
    toolsets = context.toolsets
    if toolsets is None:
        raise StepFailed("tool_not_found", "only functions are tools here", retryable=False)
    offers = await toolsets.load(await ledger.remember("tools", lambda: toolsets.offers(entries)))
    return [[toolsets.tool(offer) for offer in offers if offer["entry"] == at] for at in range(len(entries))]


def _distinct(tools: list[Tool]) -> list[Tool]:
    names = [tool.name for tool in tools]
    for name in names:
        if names.count(name) > 1:
            raise StepFailed("tool_invalid", f"two tools of this agent are called '{name}'", retryable=False)
    return tools


def _function_reference(reference: str) -> str:
    if ":" in reference:
        return reference
    found = registered().get(reference)
    if found is None:
        known = ", ".join(sorted(registered())) or "none"
        raise StepFailed("tool_not_found", f"there is no tool '{reference}'; registered: {known}; or write module:function", retryable=False)
    return found


@lru_cache(maxsize=1)
def registered() -> dict[str, str]:
    """The functions installed packages register as tools: name to `module:function`."""
    return {point.name: point.value for point in entry_points(group=GROUP)}


def _function_tool(reference: str, context: AgentContext) -> Tool:
    callee = context.resolve(_function_reference(reference))
    name = re.sub(r"[^A-Za-z0-9_-]", "_", reference.rpartition(":")[2])[:64]
    return Tool(name, description_of(callee.function), schema_of(callee.function), lambda args, _: callee.invoke(args))


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
