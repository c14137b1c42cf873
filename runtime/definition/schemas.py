"""Validate values against JSON Schemas (2020-12), compiled once. Nothing is ever fetched; patterns run in linear time."""

import json
from functools import lru_cache
from typing import Any, NoReturn

from jsonschema_rs import Draft202012Validator, RegexOptions, ValidationError

from runtime.definition.jsonvalue import check_json
from runtime.definition.pointers import join
from runtime.errors import Problem

MAX_SCHEMA = 256 * 1024
"""Characters of a schema's JSON."""
_MAX_PROBLEMS = 50


def schema_problem(schema: Any, pointer: str = "") -> Problem | None:
    """Why `schema` is no JSON Schema we take; None when it is one."""
    problem = _compiled(_canonical(schema))
    return Problem(join(pointer, *problem[1]), problem[0]) if isinstance(problem, tuple) else None


def check_value(schema: Any, value: Any, pointer: str = "") -> list[Problem]:
    """Everything that is wrong with `value`, at most 50 problems, each with its pointer below `pointer`.

    A schema that is itself no schema is a problem too.
    """
    problems = check_json(value, pointer)
    if problems:
        return problems
    validator = _compiled(_canonical(schema))
    if isinstance(validator, tuple):
        return [Problem(pointer, f"the schema is not valid: {validator[0]}")]
    for error in validator.iter_errors(value):
        problems.append(Problem(join(pointer, *error.instance_path), _sentence(error.message)))
        if len(problems) == _MAX_PROBLEMS:
            break
    return problems


def _canonical(schema: Any) -> str:
    return json.dumps(schema, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


@lru_cache(maxsize=1024)
def _compiled(schema: str) -> Draft202012Validator | tuple[str, list[str | int]]:
    """The validator, or what is wrong with the schema and where."""
    if len(schema) > MAX_SCHEMA:
        return f"the schema has {len(schema)} characters, more than {MAX_SCHEMA}", []
    document = json.loads(schema)
    if not isinstance(document, dict | bool):
        return "a JSON Schema is an object", []
    try:
        return Draft202012Validator(document, retriever=_refuse, validate_formats=True, pattern_options=RegexOptions())
    except ValidationError as error:
        return _sentence(error.message), list(error.instance_path)
    except ValueError as error:
        return _sentence(str(error)), []


def _refuse(uri: str) -> NoReturn:
    raise ValueError(f"remote references are not allowed: {uri}")


def _sentence(message: str) -> str:
    first = message.split("\n", 1)[0]
    if "is not present in a registry" in first:
        first = "remote references ($ref to another document) are not allowed"
    first = first.replace(" is not valid under any of the schemas listed in the 'anyOf' keyword", " is none of the forms allowed here")
    return first if len(first) <= 300 else first[:297] + "…"
