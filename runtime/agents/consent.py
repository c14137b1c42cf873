"""Calls of tools that wait: until a person agrees, or until a run of another workflow has carried them out."""

from typing import Any

from runtime.definition.expressions import compile_expression
from runtime.definition.tools import ALWAYS, NEVER
from runtime.errors import ExpressionFailed


class CallWaits(Exception):
    """This call cannot go on in this attempt; what has to be answered first has been noted."""


def needs_consent(approve: str, args: dict[str, Any]) -> bool:
    """Whether a person is asked before a call with these arguments. Where the condition fails, nobody but a person can tell."""
    if approve in (ALWAYS, NEVER):
        return approve == ALWAYS
    try:
        return compile_expression(approve).holds({"args": args})
    except ExpressionFailed:
        return True


def form_of(parameters: dict[str, Any]) -> dict[str, Any]:
    """The schema of what a person fills in who wants other arguments: `{args}`, which has the schema of the tool; nothing keeps them as they are."""
    args = {key: part for key, part in parameters.items() if key != "$defs"}
    form = {"type": "object", "properties": {"args": args}, "additionalProperties": False}
    return form | ({"$defs": parameters["$defs"]} if "$defs" in parameters else {})


def refusal(answer: dict[str, Any]) -> str:
    """What a model is told of a call that was not approved."""
    if answer.get("by") == "expiry":
        return "nobody has approved this call in time; it was not made"
    reason = f": {answer['comment']}" if answer.get("comment") else ""
    return f"a person has rejected this call; it was not made{reason}"


def changed(args: dict[str, Any], result: Any) -> dict[str, Any]:
    """The result of a call a person has changed: the model would otherwise speak of arguments that were not used."""
    return {"note": "a person has changed the arguments of this call", "arguments": args, "result": result}
