"""The published JSON Schema of definitions: what editors complete and check while one writes."""

from typing import Any

from runtime.definition.model import Definition, StepKind

SCHEMA_ID = "urn:agentic-workflows:definition:1"


def json_schema() -> dict[str, Any]:
    """The schema (2020-12) of a definition's document.

    `x-agentic` marks fields that hold an `expression`, a `template`, a `value` or a `json-schema`. What no schema can say (names that exist,
    types, circles) only `validation.parse` checks.
    """
    schema = Definition.model_json_schema(by_alias=True, mode="validation")
    step = schema["$defs"]["Step"]
    step["oneOf"] = [{"required": [kind.value], "title": kind.value} for kind in StepKind]
    step["properties"] = {name: _without_null(field) for name, field in step["properties"].items()}
    case = schema["$defs"]["Case"]
    case["properties"] = {name: _without_null(field) for name, field in case["properties"].items()}
    case["oneOf"] = [{"required": ["when", "then"]}, {"required": ["else"]}]
    limits = schema["$defs"]["Concurrency"]
    limits["properties"] = {name: _without_null(field) for name, field in limits["properties"].items()}
    limits["anyOf"] = [{"required": ["limit"]}, {"required": ["per_key"]}]
    limits["dependentRequired"] = {"per_key": ["key"]}
    _close(schema)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": SCHEMA_ID, **schema}


def _close(schema: Any) -> None:
    """Refuse keys that are no ids where pydantic only says what the others hold."""
    for part in schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ():
        _close(part)
    if isinstance(schema, dict) and "patternProperties" in schema:
        schema["additionalProperties"] = False


def _without_null(field: dict[str, Any]) -> dict[str, Any]:
    """A field that may be absent, without the null that absence is inside the model."""
    forms = [form for form in field.get("anyOf", []) if form != {"type": "null"}]
    if len(forms) == len(field.get("anyOf", [])):
        return field
    rest = {key: value for key, value in field.items() if key not in ("anyOf", "default")}
    return {**rest, **forms[0]} if len(forms) == 1 else {**rest, "anyOf": forms}
