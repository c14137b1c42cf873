"""Other workflows as tools: what a model is told of them. Their runs are started by the owner of the step, not from here."""

from collections.abc import Sequence
from typing import Any

from runtime.definition.foreign import Refused
from runtime.definition.inputs import as_parameters
from runtime.errors import StepFailed


def offers(entry: dict[str, Any], known: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """What an entry `{workflow, version, description}` offers; `known` are the workflows the call brought (StepCall.workflows).

    Raises StepFailed: `tool_not_found`, or `tool_invalid` when the inputs have no schema a tool can have.
    """
    name, wanted = entry["workflow"], entry.get("version")
    found = next((one for one in known if (one["workflow"], one["wanted"]) == (name, wanted)), None)
    if found is None:
        raise StepFailed("tool_not_found", f"there is no workflow '{name}'" + (f" of version {wanted}" if wanted else ""), retryable=False)
    try:
        parameters = as_parameters(found["inputs"])
    except Refused as reason:
        raise StepFailed("tool_invalid", f"workflow '{name}' cannot be a tool: {reason}", retryable=False) from reason
    description = entry.get("description") or found["description"] or f"Run the workflow {name}."
    return [{"kind": "workflow", "name": name, "description": description, "parameters": parameters, "version": found["version"]}]
