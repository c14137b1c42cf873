"""From what a step function returned or raised to what the journal can hold."""

import json
from dataclasses import dataclass, field
from typing import Any

from pydantic_core import PydanticSerializationError, from_json, to_jsonable_python

from runtime.artifacts.protocol import ArtifactStore
from runtime.errors import AgenticError, LimitExceeded, StepFailed, StoreUnavailable
from runtime.redaction import redact
from runtime.references import holds_reference
from runtime.values import INLINE_LIMIT, reference

MAX_MESSAGE = 4096
"""Characters of an error's message."""

_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=to_jsonable_python)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a kind of step gives back."""

    output: Any
    usage: dict[str, Any] = field(default_factory=dict)
    messages: Any = None
    """What was said, of an agent that was asked to tell."""
    asks: tuple[dict[str, Any], ...] = ()
    """What has to be answered before there can be an output."""
    calls: tuple[dict[str, Any], ...] = ()
    """Bodies of finished calls that are not recorded yet."""


async def plain(value: Any, store: ArtifactStore, limit: int) -> tuple[Any, int]:
    """`value` as JSON the journal can hold, and about how many bytes it takes there; large ones are stored and referred to.

    Tuples become lists; models, dataclasses, dates and UUIDs what pydantic makes of them; lone surrogates U+FFFD. Raises StepFailed
    `output_invalid` (NaN, infinity, other objects, too deep) or `output_too_large` (more than `limit` bytes).
    """
    kind = type(value)
    if value is None or kind is bool or (kind is int and -(2**63) <= value < 2**63):
        return value, 20
    data, value = _encoded(value)
    if len(data) > limit:
        raise StepFailed("output_too_large", f"the output has {len(data)} bytes; at most {limit} are allowed", retryable=False)
    if len(data) <= INLINE_LIMIT and not holds_reference(value):
        return value, len(data)
    digest, size = await store.put(data, limit=limit)
    return reference(digest, size), 150


def plain_json(value: Any) -> Any:
    """`value` as JSON of plain types. Raises StepFailed `output_invalid`."""
    return _encoded(value)[1]


def _encoded(value: Any) -> tuple[bytes, Any]:
    try:
        data = _sound(_ENCODER.encode(value)).encode()
        return data, from_json(data, allow_inf_nan=False)
    except (TypeError, ValueError, RecursionError, PydanticSerializationError) as error:
        raise StepFailed("output_invalid", f"the output is not JSON: {error}"[:MAX_MESSAGE], retryable=False) from error


def failure(error: BaseException) -> dict[str, Any]:
    """The error of a result: `{code, message, retryable, retry_after?, details?}`, without a stack trace."""
    if isinstance(error, StepFailed):
        found: dict[str, Any] = {"code": error.error_code, "message": str(error), "retryable": error.retryable}
        if error.retry_after is not None:
            found["retry_after"] = error.retry_after
        return found | ({"details": error.details} if error.details else {})
    if isinstance(error, LimitExceeded):
        return {"code": "output_too_large", "message": str(error), "retryable": False}
    if isinstance(error, AgenticError):
        return {"code": error.code, "message": str(error), "retryable": isinstance(error, StoreUnavailable)}
    return {"code": "exception", "message": f"{type(error).__name__}: {error}", "retryable": True}


def tidy(error: dict[str, Any]) -> dict[str, Any]:
    """`error` with its texts bounded, fit for JSON and without secrets, whoever wrote them; details that are not are left out."""
    message = redact(_sound(str(error["message"])))
    tidied = error | {"message": message if len(message) <= MAX_MESSAGE else f"{message[: MAX_MESSAGE - 1]}…"}
    if "details" not in error:
        return tidied
    try:
        data, details = _encoded(error["details"])
    except StepFailed:
        data, details = b"", None
    if details is None or len(data) > INLINE_LIMIT:
        del tidied["details"]
        return tidied
    return tidied | {"details": redact.value(details, data.decode())}


def _sound(text: str) -> str:
    """`text` that UTF-8 can carry: halves of a pair side by side are joined, those that stand alone become U+FFFD."""
    return text if text.isascii() else text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
