"""Turns `-i name=value` into JSON."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from actors.cli.exits import CommandError, Exit


def parse_inputs(pairs: Sequence[str], schemas: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs of a run from `name=value` pairs.

    A value is JSON, or text where it is not JSON. `schemas` (input name → JSON Schema) settles the doubtful case: for an input
    declared as a string, `42` stays text. `@path` reads the value from a file. Raises CommandError.
    """
    inputs: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise CommandError(f"write inputs as name=value, not {pair!r}", Exit.USAGE)
        if name in inputs:
            raise CommandError(f"input {name} is given twice", Exit.USAGE)
        inputs[name] = parse_value(text, schemas.get(name))
    return inputs


def parse_value(text: str, schema: Any = None) -> Any:
    """One value; see `parse_inputs`."""
    if text.startswith("@"):
        text = read_text(Path(text[1:]))
    if isinstance(schema, dict) and schema.get("type") == "string":
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text


def read_text(path: Path) -> str:
    """A file's text; `-` is stdin. Raises CommandError."""
    import sys

    try:
        return sys.stdin.read() if str(path) == "-" else path.read_text(encoding="utf-8")
    except OSError as error:
        raise CommandError(f"cannot read {path}: {error.strerror}", Exit.NOT_FOUND) from error
    except UnicodeDecodeError:
        raise CommandError(f"{path} is not UTF-8 text", Exit.USAGE) from None
