"""What the OpenAPI document says about each route: body, answers, and every status it can return."""

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from starlette.responses import Response

from runtime.api.answers import Delta, Events, Problem
from runtime.api.problems import MEDIA_TYPE, STATUS
from runtime.api.requests import BODIES

EVERY = (500, 503)
BEHIND_KEY = (400, 401, 403, 421, 422, 431)
"""What any route behind an API key can return: a bad credential, host, header or parameter."""
WITH_BODY = (413, 415)

DEFINITION: dict[str, Any] = {
    "application/json": {"schema": {"type": "object", "description": "A definition; /v1/schema/definition has its schema."}},
    "application/yaml": {"schema": {"type": "string"}},
}
"""The body of routes that take a definition."""

_SCHEMA = "#/components/schemas/{model}"
_TITLES = {status: title for _, (status, title) in sorted(STATUS.items(), key=lambda entry: entry[1][0], reverse=True)}
_TITLES |= {200: "Done", 201: "Made", 202: "Accepted: it is on disk", 204: "Done, nothing to say", 206: "The bytes asked for"}
_TITLES |= {304: "Unchanged", 422: "Something in the request is not valid", 500: "Something went wrong here"}


def documented(
    answers: Mapping[int, Any],
    *problems: int,
    body: type[BaseModel] | dict[str, Any] | None = None,
    optional: bool = False,
    public: bool = False,
    headers: tuple[str, ...] = (),
) -> dict[str, Any]:
    """Keyword arguments of a route's decorator. `answers`: status → model, or media type(s) as text for what is not JSON."""
    statuses = (*problems, *EVERY, *(() if public else BEHIND_KEY), *(WITH_BODY if body else ()))
    responses: dict[int | str, dict[str, Any]] = {status: _answer(status, model) for status, model in answers.items()}
    responses |= {status: _problem(status) for status in sorted(set(statuses))}
    extra: dict[str, Any] = {"security": []} if public else {"security": [{"key": []}]}
    if body is not None:
        content = body if isinstance(body, dict) else {"application/json": {"schema": {"$ref": _SCHEMA.format(model=body.__name__)}}}
        extra["requestBody"] = {"required": not optional, "content": content}
    if headers:
        extra["parameters"] = [_HEADERS[name] for name in headers]
    return {"responses": responses, "openapi_extra": extra, "status_code": min(answers), "response_model": None, "response_class": Response}


def _answer(status: int, model: Any) -> dict[str, Any]:
    described: dict[str, Any] = {"description": _TITLES[status]}
    if isinstance(model, str):
        return {**described, "content": {model: {"schema": {"type": "string"}}}}
    if isinstance(model, dict):
        return {**described, "content": model}
    return described if model is None else {**described, "model": model}


def _problem(status: int) -> dict[str, Any]:
    found: dict[str, Any] = {"description": _TITLES[status], "content": {MEDIA_TYPE: {"schema": {"$ref": _SCHEMA.format(model="Problem")}}}}
    if status in (429, 503):
        found["headers"] = {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds."}}
    return found


def _header(name: str, description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "header", "required": False, "description": description, "schema": {"type": "string", **schema}}


_HEADERS = {
    "webhook-id": _header("webhook-id", "The message's id (Standard Webhooks).", {}),
    "webhook-timestamp": _header("webhook-timestamp", "When it was sent, unix seconds, at most five minutes from now.", {}),
    "webhook-signature": _header("webhook-signature", "`v1,…` signatures with spaces between them.", {}),
    "Idempotency-Key": _header("Idempotency-Key", "The same key and payload give the same answer for at least 24 h.", {"maxLength": 255}),
    "If-Match": _header("If-Match", "The ETag that must still be the current one.", {"pattern": '^"[0-9a-f]{64}"$'}),
    "Last-Event-ID": _header("Last-Event-ID", "The id of the last event you have; only later ones come.", {"pattern": r"^\d{1,15}$"}),
    "Prefer": _header("Prefer", "`wait=N`: answer when the run has ended, or after N seconds (at most 60).", {"examples": ["wait=10"]}),
    "Range": _header("Range", "One range of bytes.", {"examples": ["bytes=0-1023"]}),
    "traceparent": _header("traceparent", "W3C Trace Context; the run becomes part of this trace.", {}),
}


def document(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI 3.1 document: FastAPI's, with the models that only `openapi_extra` names and the security scheme."""
    found = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    models: Any = [(model, "validation") for model in (*BODIES, Problem, Events, Delta)]
    _, extra = models_json_schema(models, ref_template=_SCHEMA)
    components = found.setdefault("components", {})
    components["schemas"] = dict(sorted({**components.get("schemas", {}), **extra["$defs"]}.items()))
    components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer", "description": "An API key: `ak_…`."}}
    return found
