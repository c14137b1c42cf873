"""The form of an approval as somebody sends it who has nothing to say."""

from typing import Any


def blank_form(schema: Any) -> Any:
    """The defaults that the form's schema names; None when there is no form. It fits unless the form asks for more than defaults."""
    if not isinstance(schema, dict):
        return None
    if "default" in schema:
        return schema["default"]
    if "properties" not in schema and schema.get("type") != "object":
        return None
    found = {name: part["default"] for name, part in (schema.get("properties") or {}).items() if isinstance(part, dict) and "default" in part}
    nested = {name: blank_form(part) for name, part in (schema.get("properties") or {}).items() if name in (schema.get("required") or ()) and name not in found}
    return {**found, **{name: value for name, value in nested.items() if value is not None}}
