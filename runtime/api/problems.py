"""Errors as RFC 9457 problem documents. One table says which code is which HTTP status; nothing else decides it."""

import math
from typing import Any

from pydantic_core import to_json
from starlette.responses import Response

from runtime.errors import AgenticError, Problem, RequestInvalid
from runtime.redaction import redact


class Malformed(RequestInvalid):
    """The request is not HTTP or JSON as it should be: it could not be read at all."""

    code = "malformed"


class UnsupportedMediaType(RequestInvalid):
    """The body is of a type this route does not take."""

    code = "unsupported_media_type"


class HeadersTooLarge(RequestInvalid):
    """The request's headers are longer than allowed."""

    code = "headers_too_large"


class HostNotAllowed(RequestInvalid):
    """The Host header names a host this server does not answer for."""

    code = "host_not_allowed"


class MethodNotAllowed(RequestInvalid):
    """The route does not take this method."""

    code = "method_not_allowed"


class RangeInvalid(RequestInvalid):
    """The Range header asks for bytes that do not exist."""

    code = "range_invalid"


STATUS: dict[str, tuple[int, str]] = {
    "malformed": (400, "The request cannot be read"),
    "unauthorized": (401, "An API key is needed"),
    "signature_invalid": (401, "The message is not signed as it must be"),
    "forbidden": (403, "The API key does not allow this"),
    "not_found": (404, "Not found"),
    "method_not_allowed": (405, "The route does not take this method"),
    "conflict": (409, "The present state does not allow this"),
    "run_ended": (409, "The run has already ended"),
    "already_decided": (409, "The approval is already decided"),
    "replayed": (409, "The message has been received before"),
    "artifact_missing": (410, "The content is no longer there"),
    "version_changed": (412, "It has changed in the meantime"),
    "payload_too_large": (413, "Too large"),
    "unsupported_media_type": (415, "The body's type is not supported"),
    "range_invalid": (416, "The range cannot be satisfied"),
    "host_not_allowed": (421, "This server does not answer for that host"),
    "request_invalid": (422, "The request is not valid"),
    "definition_invalid": (422, "The definition is not valid"),
    "input_invalid": (422, "The input is not valid"),
    "idempotency_mismatch": (422, "The idempotency key belongs to another request"),
    "limit_exceeded": (422, "A limit was reached"),
    "expression_failed": (422, "An expression cannot be evaluated"),
    "overloaded": (429, "Too busy"),
    "concurrency_limit": (429, "The workflow has as many runs as it may have"),
    "headers_too_large": (431, "The headers are too long"),
    "store_unavailable": (503, "The database does not answer"),
    "artifact_store_full": (503, "The artifact store is full"),
    "secret_unreadable": (503, "A stored secret cannot be read"),
}
"""code → (HTTP status, title). A code that is not here is a defect of ours: 500, without details."""

MAX_ERRORS = 100
MAX_TEXT = 1000
"""Characters of one sentence or pointer: what a client sends must not come back to it many times over."""
INTERNAL = (500, "Something went wrong here")
MEDIA_TYPE = "application/problem+json"
RETRY_AFTER = {"overloaded": 1, "concurrency_limit": 5, "store_unavailable": 1, "artifact_store_full": 30, "secret_unreadable": 60}
"""Seconds, where the error itself names none."""


def shown(path: str) -> str:
    """A path as answers and logs may have it: the address of a hook is a secret, and a key that stands where it does not belong stays one."""
    return "/hooks/…" if path.startswith("/hooks/") else redact(path)


def problem(error: AgenticError, *, instance: str, headers: dict[str, str] | None = None) -> Response:
    """The response that says what `error` says."""
    status, title = STATUS.get(error.code, INTERNAL)
    document: dict[str, Any] = {
        "type": "about:blank",
        "title": title,
        "status": status,
        "detail": redact(str(error))[:MAX_TEXT] if error.code in STATUS else title,
        "instance": instance,
        "code": error.code if error.code in STATUS else "internal",
    }
    if error.problems:
        document["errors"] = [_error(each) for each in error.problems[:MAX_ERRORS]]
    if error.run_id is not None:
        document["run_id"] = error.run_id
    headers = dict(headers or {})
    if error.code in RETRY_AFTER:
        headers["Retry-After"] = str(math.ceil(error.retry_after or RETRY_AFTER[error.code]))
    if status == INTERNAL[0]:
        document.pop("errors", None)
    return Response(to_json(document, inf_nan_mode="strings"), status, headers, MEDIA_TYPE)


def _error(each: Problem) -> dict[str, Any]:
    place = {"line": each.line, "column": each.column} if each.line is not None else {}
    return {"pointer": each.pointer[:MAX_TEXT], "detail": redact(each.detail)[:MAX_TEXT], **place}
