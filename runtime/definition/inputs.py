"""The inputs of a run: defaults filled in, everything checked, all problems at once."""

from collections.abc import Mapping
from typing import Any

from runtime.definition.foreign import parameters_of
from runtime.definition.model import Definition
from runtime.definition.names import did_you_mean
from runtime.definition.pointers import join
from runtime.definition.schemas import check_value
from runtime.errors import InputInvalid, Problem

__all__ = ["as_parameters", "check_inputs", "check_value"]

_DATA = frozenset(("const", "enum", "default", "examples"))
"""Keywords whose values are no schemas."""


def check_inputs(definition: Definition, given: Any) -> dict[str, Any]:
    """The inputs a run begins with. Raises InputInvalid with the pointer of each problem into `given`."""
    if not isinstance(given, dict):
        raise _invalid([Problem("", "the inputs are an object, one field for each input")])
    problems = [
        Problem(join("", str(name)), f"workflow '{definition.name}' has no input '{str(name)[:100]}'{did_you_mean(str(name), definition.inputs)}")
        for name in given
        if name not in definition.inputs
    ]
    inputs: dict[str, Any] = {}
    for name, schema in definition.inputs.items():
        if name in given:
            problems += check_value(schema, given[name], join("", name))
            inputs[name] = given[name]
        elif "default" in schema:
            inputs[name] = schema["default"]
        else:
            problems.append(Problem(join("", name), f"the input '{name}' is missing"))
    if problems:
        raise _invalid(problems)
    return inputs


def as_parameters(inputs: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """One schema for all inputs of a workflow, as a tool has it. Raises runtime.definition.foreign.Refused when a tool cannot have it."""
    properties = {name: _moved(schema, join("#/properties", name)) for name, schema in inputs.items()}
    required = [name for name, schema in inputs.items() if "default" not in schema]
    return parameters_of({"type": "object", "properties": properties, "required": required, "additionalProperties": False})


def _moved(schema: Any, place: str) -> Any:
    """A schema whose references begin at `place`: each input was a document of its own."""
    if isinstance(schema, list):
        return [_moved(part, place) for part in schema]
    if not isinstance(schema, dict):
        return schema
    moved = {key: part if key in _DATA else _moved(part, place) for key, part in schema.items()}
    reference = schema.get("$ref")
    return moved | ({"$ref": place + reference[1:]} if isinstance(reference, str) and reference.startswith("#") else {})


def _invalid(problems: list[Problem]) -> InputInvalid:
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return InputInvalid(f"the inputs do not fit: {problems[0].pointer or '/'}: {problems[0].detail}{more}", problems=problems)
