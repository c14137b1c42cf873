"""A document against the model: pydantic's errors as sentences, each with its pointer, and whatever parts are valid all the same."""

import copy
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from runtime.definition.findings import MAX_PROBLEMS
from runtime.definition.model import Definition, Step
from runtime.definition.names import did_you_mean
from runtime.definition.pointers import join
from runtime.errors import Problem

_TYPES = {
    "string_type": "must be text; write it in quotes",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "dict_type": "must be an object (fields with values)",
    "model_type": "must be an object (fields with values)",
    "model_attributes_type": "must be an object (fields with values)",
    "list_type": "must be a list",
}
_AS_A_WHOLE = {
    "model": "write provider:model, or a list of 1 to 10 of them",
    "on_error": "write fail, continue, or {goto: <step>}",
    "for": "write a duration such as 30s, or a text with ${{ }} that becomes one",
    "openapi": "write the name of an API, the URL of an OpenAPI document, or the document itself",
}
"""Fields that take several forms: one sentence instead of one for each form."""


@dataclass(slots=True)
class Draft:
    """What could be read of a definition, also of one with problems: a step that is not valid without the parts that are not, or None."""

    raw: dict[str, Any]
    definition: Definition | None = None
    steps: dict[str, Step | None] = field(default_factory=dict)
    final: dict[str, Step | None] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)
    """Pointers of the steps that are not whole."""
    inputs: dict[str, dict[str, Any]] = field(default_factory=dict)
    outputs: dict[str, str] = field(default_factory=dict)

    def section(self, *, final: bool) -> dict[str, Step | None]:
        return self.final if final else self.steps


def read_structure(document: Any) -> tuple[Draft, list[Problem], set[str]]:
    """The draft, the problems, and the pointers whose problem is with the key rather than the value."""
    if not isinstance(document, dict):
        return Draft({}), [Problem("", "a definition is an object with name and steps")], set()
    draft = Draft(document)
    problems: list[Problem] = []
    keys = set[str]()
    try:
        draft.definition = Definition.model_validate(document)
    except ValidationError as error:
        problems, keys = _problems(error, document)
    draft.steps, draft.final = _steps(draft, "steps"), _steps(draft, "finally")
    draft.inputs = {name: schema for name, schema in _texts(document.get("inputs")).items() if isinstance(schema, dict)}
    draft.outputs = {name: source for name, source in _texts(document.get("outputs")).items() if isinstance(source, str)}
    return draft, problems, keys


def _texts(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _steps(draft: Draft, section: str) -> dict[str, Step | None]:
    steps: dict[str, Step | None] = {}
    for id_, raw in _texts(draft.raw.get(section)).items():
        try:
            steps[id_] = Step.model_validate(raw)
        except ValidationError as error:
            steps[id_] = _without_errors(raw, error)
            draft.broken.add(join("", section, id_))
    return steps


def _without_errors(raw: Any, error: ValidationError) -> Step | None:
    """What is left of a step without the values that are wrong, so that its expressions can be checked all the same."""
    rest = copy.deepcopy(raw)
    for _ in range(10):
        for details in error.errors(include_url=False)[:MAX_PROBLEMS]:
            steps, _on_key = _steps_to(details, rest)
            if not steps:
                return None
            _remove(rest, steps)
        try:
            return Step.model_validate(rest)
        except ValidationError as again:
            error = again
    return None


def _remove(value: Any, steps: list[str | int]) -> None:
    *path, last = steps
    for step in path:
        value = value[step]
    if isinstance(value, dict):
        value.pop(last, None)
    elif isinstance(last, int) and last < len(value):
        del value[last]


def _problems(error: ValidationError, document: dict[str, Any]) -> tuple[list[Problem], set[str]]:
    found: dict[tuple[str, str], Problem] = {}
    keys = set[str]()
    for details in error.errors(include_url=False)[:MAX_PROBLEMS]:
        steps, on_key = _steps_to(details, document)
        pointer = join("", *steps)
        whole = _AS_A_WHOLE.get(str(steps[-1])) if steps and details["type"] != "extra_forbidden" else None
        if whole and isinstance(details["input"], dict):
            if details["type"] != "missing":
                continue  # another error speaks of what is in it
            whole = None
        detail = whole or _sentence(details, steps)
        found.setdefault((pointer, detail), Problem(pointer, detail))
        if on_key:
            keys.add(pointer)
    return list(found.values()), keys


def _steps_to(details: ErrorDetails, document: Any) -> tuple[list[str | int], bool]:
    """The path of an error through the document: without the names of models and union members pydantic puts in between."""
    steps: list[str | int] = []
    for part in details["loc"]:
        if part == "[key]":
            return steps, True
        if (isinstance(document, dict) and part in document) or (isinstance(document, list) and isinstance(part, int) and part < len(document)):
            steps.append(part)
            document = document[part]  # type: ignore[index]  # a dict by any key, a list by an int: just seen
    return steps, details["type"] == "extra_forbidden"


def _sentence(details: ErrorDetails, steps: list[str | int]) -> str:
    kind, last = details["type"], str(details["loc"][-1]) if details["loc"] else ""
    if kind == "missing":
        return f"'{last}' is missing"
    if kind == "extra_forbidden":
        return f"there is no field '{last[:100]}' here{did_you_mean(last, _fields(steps[:-1]))}"
    if kind == "value_error":
        return str(details.get("ctx", {}).get("error", details["msg"]))
    if kind == "literal_error":
        expected = str(details.get("ctx", {}).get("expected", ""))
        given = details["input"] if isinstance(details["input"], str) else ""
        return f"write {expected}{did_you_mean(given, re.findall(chr(39) + '(.*?)' + chr(39), expected))}"
    if kind == "string_pattern_mismatch":
        return f"'{str(details['input'])[:100]}' does not have the form {details.get('ctx', {}).get('pattern')}"
    return _TYPES.get(kind) or _size(details["msg"])


def _size(message: str) -> str:
    message = re.sub(r" after validation, not (\d+)", r", not \1", message)
    return re.sub(r"^(Input|String|List|Dictionary|Value) should ", "must ", message)


def _fields(steps: list[str | int]) -> list[str]:
    """The fields an object at this place of a definition may have."""
    type_: Any = Definition
    for step in steps:
        type_ = _inside(type_, step)
    return [info.alias or name for model in _models(type_) for name, info in model.model_fields.items()]


def _members(type_: Any) -> list[Any]:
    if get_origin(type_) is Annotated:
        return _members(get_args(type_)[0])
    return [inner for member in get_args(type_) for inner in _members(member)] if get_origin(type_) in (Union, UnionType) else [type_]


def _models(type_: Any) -> list[type[BaseModel]]:
    return [member for member in _members(type_) if isinstance(member, type) and issubclass(member, BaseModel)]


def _inside(type_: Any, step: str | int) -> Any:
    """The type of the value at `step` of a value of this type."""
    for member in _members(type_):
        if isinstance(member, type) and issubclass(member, BaseModel):
            return next((info.annotation for name, info in member.model_fields.items() if step == (info.alias or name)), None)
        if get_origin(member) in (dict, Mapping):
            return get_args(member)[1]
        if get_origin(member) is list:
            return get_args(member)[0]
    return None
