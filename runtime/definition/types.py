"""Small value types of the definition language: durations, sizes, ratios, names. Written for people, stored canonically."""

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, JsonValue, PlainSerializer, WithJsonSchema

_DURATION = re.compile(r"(?:(\d{1,15})d)?(?:(\d{1,15})h)?(?:(\d{1,15})m(?!s))?(?:(\d{1,15})s)?(?:(\d{1,15})ms)?", re.ASCII)
_SIZE = re.compile(r"(\d{1,16}) ?(B|KB|MB|GB|TB|KiB|MiB|GiB|TiB)?", re.ASCII)
_PERCENT = re.compile(r"(\d{1,3})%", re.ASCII)
_IDENTIFIER = r"^[A-Za-z_][A-Za-z0-9_]{0,63}$"
_NAME = r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$"
_SIZE_UNITS = {
    None: 1,
    "B": 1,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
    "TiB": 2**40,
}
MAX_DURATION_MS = 366 * 24 * 3600 * 1000
MAX_SIZE = 2**50


def parse_duration(value: Any) -> int:
    """Milliseconds of `90`, `0.5` (seconds), `250ms`, `30s`, `1m30s`, `48h`, `7d`; at most 366 days. Raises ValueError."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError("a duration is a number of seconds or text such as 250ms, 30s, 1m30s, 48h, 7d")
    if isinstance(value, str):
        match = _DURATION.fullmatch(value)
        if not match or not value:
            raise ValueError(f"'{value[:50]}' is not a duration; write for example 250ms, 30s, 1m30s, 48h, 7d")
        days, hours, minutes, seconds, millis = (int(part or 0) for part in match.groups())
        total = (((days * 24 + hours) * 60 + minutes) * 60 + seconds) * 1000 + millis
    else:
        total = round(value * 1000) if 0 <= value <= MAX_DURATION_MS else -1
    if not 0 <= total <= MAX_DURATION_MS:
        raise ValueError("a duration is between 0 and 366 days")
    return total


def format_duration(ms: int) -> str:
    """The shortest text `parse_duration` reads back as `ms`."""
    text = ""
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)):
        count, ms = divmod(ms, size)
        text += f"{count}{unit}" if count else ""
    return text or "0s"


def parse_size(value: Any) -> int:
    """Bytes of `1048576`, `512MiB`, `2GB`. Raises ValueError."""
    match = _SIZE.fullmatch(str(value)) if isinstance(value, str | int) and not isinstance(value, bool) else None
    size = int(match[1]) * _SIZE_UNITS[match[2]] if match else -1
    if not 0 <= size <= MAX_SIZE:
        raise ValueError(f"'{str(value)[:50]}' is not a size; write for example 512MiB or 2GB, at most 1 PiB")
    return size


def parse_threshold(value: Any) -> int | str:
    """A count (`3`) or a share (`5%`) of failures. Raises ValueError."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    match = _PERCENT.fullmatch(value) if isinstance(value, str) else None
    if not match or int(match[1]) > 100:
        raise ValueError("write a count such as 3 or a share such as 5%")
    return f"{int(match[1])}%"


def _identifier(what: str) -> Any:
    def check(value: str) -> str:
        if not re.fullmatch(_IDENTIFIER, value):
            raise ValueError(f"{what} starts with a letter or _ and has at most 64 letters, digits and _")
        return value

    return AfterValidator(check)


def _schema(pattern: str, **more: int) -> WithJsonSchema:
    """What the published schema says of a text checked here, where the message is better than "does not match"."""
    return WithJsonSchema({"type": "string", "pattern": pattern, **more})


def _workflow_name(value: str) -> str:
    if not re.fullmatch(_NAME, value) or len(value) > 63:
        raise ValueError("a workflow's name is lower case letters, digits and single hyphens, at most 63 characters, such as research-brief")
    return value


Duration = Annotated[
    int,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str),
    WithJsonSchema(
        {
            "anyOf": [{"type": "string", "pattern": r"^(?=.)(\d+d)?(\d+h)?(\d+m)?(\d+s)?(\d+ms)?$"}, {"type": "number", "minimum": 0}],
            "examples": ["30s", "1m30s"],
        }
    ),
]
"""Milliseconds in the model, `1m30s` or a number of seconds in a document."""

Size = Annotated[
    int,
    BeforeValidator(parse_size),
    WithJsonSchema({"anyOf": [{"type": "string", "pattern": r"^\d+ ?([KMGT]i?B|B)?$"}, {"type": "integer", "minimum": 0}], "examples": ["512MiB", "2GB"]}),
]
"""Bytes in the model, `2GiB` in a document."""

Threshold = Annotated[
    int | str,
    BeforeValidator(parse_threshold),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": r"^\d{1,3}%$"}], "examples": [3, "5%"]}),
]
"""How many failures are bearable: a count or a percentage."""

StepId = Annotated[str, _identifier("a step's id"), _schema(_IDENTIFIER)]
InputName = Annotated[str, _identifier("an input's name"), _schema(_IDENTIFIER)]
WorkflowName = Annotated[str, AfterValidator(_workflow_name), _schema(_NAME, maxLength=63)]
Cel = Annotated[str, Field(min_length=1, max_length=10_000, json_schema_extra={"x-agentic": "expression"})]
"""A bare CEL expression, such as `size(steps.rank.output) >= 3`."""

Text = Annotated[str, Field(max_length=1_000_000, json_schema_extra={"x-agentic": "template"})]
"""Text with `${{ cel }}` segments."""

ModelName = Annotated[str, Field(min_length=1, max_length=200)]
ModelNames = ModelName | Annotated[list[ModelName], Field(min_length=1, max_length=10, json_schema_extra={"uniqueItems": True})]
"""`provider:model`, or several in the order they are tried."""

Value = Annotated[JsonValue, Field(json_schema_extra={"x-agentic": "value"})]
"""Any JSON; each string inside is a template, and a string that is one single `${{ cel }}` keeps the type of its result."""

JsonSchema = Annotated[dict[str, Any] | bool, Field(json_schema_extra={"x-agentic": "json-schema"})]
"""A JSON Schema (2020-12) document; remote references are refused."""
