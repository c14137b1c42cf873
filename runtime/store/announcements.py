"""Which events are told to the outside, and in which words: the body of a webhook, made from one event and its run."""

from typing import Any

from pydantic_core import PydanticSerializationError, to_json

from runtime.clock import rfc3339
from runtime.engine.events import Kind
from runtime.engine.states import RunStatus

MAX_VALUE = 64 * 1024
"""Bytes of JSON of one value in a message. Larger ones are left out and named in `omitted`; outputs over 64 KiB are references anyway."""

RUN_STATUS = {
    Kind.RUN_STARTED: RunStatus.RUNNING,
    Kind.RUN_WAITING: RunStatus.WAITING,
    Kind.RUN_SUCCEEDED: RunStatus.SUCCEEDED,
    Kind.RUN_FAILED: RunStatus.FAILED,
    Kind.RUN_CANCELED: RunStatus.CANCELED,
}
ANNOUNCED: dict[str, tuple[str, ...]] = {
    Kind.RUN_STARTED.value: (),
    Kind.RUN_WAITING.value: ("waiting_for",),
    Kind.RUN_SUCCEEDED.value: ("output",),
    Kind.RUN_FAILED.value: ("error",),
    Kind.RUN_CANCELED.value: ("reason", "by"),
    Kind.APPROVAL_REQUESTED.value: ("approval_id", "message", "form", "show", "expires_at"),
    Kind.APPROVAL_RESOLVED.value: ("approval_id", "approved", "decision", "form", "by", "comment"),
    Kind.STEP_FAILED.value: ("error",),
}
"""Kind of event → the fields of its body that the message carries."""
TEST_EVENT = "endpoint.test"

_STATUS = {kind.value: status.value for kind, status in RUN_STATUS.items()}
_STEPS = frozenset({Kind.APPROVAL_REQUESTED.value, Kind.APPROVAL_RESOLVED.value, Kind.STEP_FAILED.value})


def announcement(event: str, at: int, about: dict[str, Any], *, status: str, step: str | None, body: dict[str, Any]) -> str:
    """The message's body. `about` says whose event it is: run_id, workflow, labels, seq; `status` is the run's when the event says none."""
    data = {**about, "status": _STATUS.get(event, status)}
    if event in _STEPS:
        data["step"] = (step or "").partition("#")[0]
    told = {name: _readable(name, body[name]) for name in ANNOUNCED[event] if name in body}
    small = {name: value for name, value in told.items() if _fits(value)}
    omitted = {"omitted": [name for name in told if name not in small]} if len(small) < len(told) else {}
    try:
        return message(event, at, {**data, **small, **omitted})
    except PydanticSerializationError:
        # As deeply nested as the journal allows, and the message nests it deeper: no reason to stop the run.
        return message(event, at, {**data, "omitted": list(told)})


def _readable(name: str, value: Any) -> Any:
    return rfc3339(value) if name == "expires_at" and isinstance(value, int) else value


def _fits(value: Any) -> bool:
    return len(to_json(value, inf_nan_mode="strings")) <= MAX_VALUE


def message(event: str, at: int, data: dict[str, Any]) -> str:
    """`{"type", "timestamp", "data"}` as the Standard Webhooks specification has it."""
    return to_json({"type": event, "timestamp": rfc3339(at), "data": data}, inf_nan_mode="strings").decode()
