"""What an agent may name as its tools: a Python function by text, or an object whose first key says where the tools come from."""

import re
from typing import Annotated, Any

from pydantic import Discriminator, Field, Tag

from runtime.definition.base import Model
from runtime.definition.types import Cel, Duration, WorkflowName
from runtime.tool_settings import SOURCE_NAME

MAX_TOOLS = 128
"""Entries of one agent, and names within one entry."""
API_NAME = re.compile(SOURCE_NAME)
FORMS = "write the name of a function, or {function: <name>}, {workflow: <name>}, {openapi: <name, URL or document>} or {mcp: <server>}"
ALWAYS, NEVER = "always", "never"

Name = Annotated[str, Field(min_length=1, max_length=300)]


class Entry(Model):
    """What every entry that is an object can say."""

    approve: Cel = NEVER
    """Whether a call waits for the approval of a person: `always`, `never`, or a condition over `args`, the arguments of the call."""
    expires: Duration | None = None
    """A call nobody has decided about in this time counts as rejected."""


class FunctionTool(Entry):
    """A Python function."""

    function: Name
    """The name of a registered function, or `module:function` of an allowed module."""


class WorkflowTool(Entry):
    """Another workflow: each call is a run of it. Its inputs are the arguments, its output is the result."""

    workflow: WorkflowName
    version: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    """The content hash to run; the newest version at the time the step starts when absent."""
    description: Annotated[str, Field(min_length=1, max_length=2_000)] | None = None
    """What the model is told; the workflow's own description when absent."""


class OpenApiTools(Entry):
    """Operations of an HTTP API, each as a tool."""

    openapi: Annotated[str, Field(min_length=1, max_length=2_000)] | dict[str, Any]
    """The name of an API the operator has registered, the URL of an OpenAPI document, or the document itself."""
    operations: list[Name] = Field(default=[], max_length=MAX_TOOLS)
    """Operation ids, or `GET /path` for an operation without one; all that are allowed when empty."""


class McpTools(Entry):
    """Tools of an MCP server. Servers are named here and nowhere described: where they are and what starts them, the operator alone says."""

    mcp: Annotated[str, Field(pattern=rf"^{API_NAME.pattern}$")]
    """The name of a server the operator has registered."""
    tools: list[Name] = Field(default=[], max_length=MAX_TOOLS)
    """The server's own names of its tools; all that are allowed when empty."""


def _form(entry: Any) -> str | None:
    """Which member of the union an entry is meant to be, so that its problems are those of that member alone."""
    if isinstance(entry, str):
        return "a name"
    keys = type(entry).model_fields if isinstance(entry, Model) else entry if isinstance(entry, dict) else ()
    return next((form for key, form in _FORMS.items() if key in keys), None)


_FORMS = {"function": "a function", "workflow": "another workflow", "openapi": "an API", "mcp": "a server"}
"""The key that decides, and the name of the form: never a key itself, because it stands in the paths of pydantic's errors."""

Tools = Annotated[
    Annotated[str, Field(max_length=300), Tag("a name")]
    | Annotated[FunctionTool, Tag("a function")]
    | Annotated[WorkflowTool, Tag("another workflow")]
    | Annotated[OpenApiTools, Tag("an API")]
    | Annotated[McpTools, Tag("a server")],
    Discriminator(_form, custom_error_type="tool_form", custom_error_message=FORMS),
]
"""One entry of `agent.tools`."""
