"""What an MCP tool gives back, as JSON a model can be told. Untrusted, like everything servers say."""

from typing import Any

from runtime.agents.tools import ToolRefused
from runtime.definition.foreign import readable

MAX_ERROR = 1_000


def value_of(result: Any) -> Any:
    """The structured content of a `CallToolResult`, else its texts. Raises ToolRefused when the tool says that it has failed."""
    said = "\n\n".join(_text(block) for block in result.content)
    if result.is_error:
        raise ToolRefused(readable(said, MAX_ERROR) or "the tool has failed and does not say why")
    return said if result.structured_content is None else result.structured_content


def _text(block: Any) -> str:
    """Text as it is; of everything else that it was there."""
    if block.type == "text":
        return str(block.text)
    if block.type == "resource":
        inner = getattr(block.resource, "text", None)
        return inner if isinstance(inner, str) else f"[{block.resource.uri}, not text, left out]"
    if block.type == "resource_link":
        return f"[{block.uri}]"
    return f"[{block.type}, {getattr(block, 'mime_type', None) or 'unknown type'}, left out]"
