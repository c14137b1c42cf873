"""The `http` step: one request, its answer as the output."""

import asyncio
from collections.abc import Mapping
from typing import Any

import httpcore2
import httpx2
from pydantic_core import to_json

from runtime.errors import StepFailed
from runtime.steps.addresses import AllowList
from runtime.steps.context import StepServices, Work, save
from runtime.steps.outbound import CONNECT_SECONDS, Outbound
from runtime.steps.outcome import Outcome
from runtime.steps.response import Answer, check_status, headers_of, read

DEFAULT_SECONDS = 60.0
"""Of the whole exchange when the step has no timeout."""

# They belong to the connection, not to the message: a definition that sets them could make the server read another request.
RESERVED_HEADERS = frozenset(("host", "content-length", "transfer-encoding", "connection", "upgrade", "te", "trailer", "keep-alive", "proxy-authorization"))
SAFE_METHODS = frozenset(("GET", "HEAD", "OPTIONS"))


class HttpKind:
    """Carries `http` steps out, over connections shared by the whole process."""

    def __init__(self, services: StepServices, outbound: Outbound | None = None) -> None:
        self._services = services
        self._outbound = outbound

    async def run(self, spec: dict[str, Any], work: Work) -> Outcome:
        """Send the request and return `{status, headers, body}`.

        Raises StepFailed: `url_invalid`, `request_invalid`, `outbound_refused`, `http_unreachable`, `timeout`, `response_too_large`,
        `response_invalid`, or `http_<status>` for a status from 400 that is not expected.
        """
        request = build_request(spec, work)
        if work.call.mode == "simulated":
            return Outcome(simulated(request, spec))
        limit = min(spec["max_response"], self._services.settings.max_output_bytes)
        try:
            async with asyncio.timeout(None if work.call.timeout_ms else DEFAULT_SECONDS):
                answer = await self._exchange(request, limit)
        except (TimeoutError, httpcore2.TimeoutException) as error:
            raise StepFailed("timeout", f"{request.url.host} did not answer in time") from error
        except httpcore2.LocalProtocolError as error:
            raise StepFailed("request_invalid", f"this request cannot be sent: {error}", retryable=False) from error
        except (httpcore2.NetworkError, httpcore2.ProtocolError) as error:
            raise StepFailed("http_unreachable", f"{request.url.host}: {error or type(error).__name__}") from error
        check_status(answer, spec["expect"])
        return Outcome({"status": answer.status, "headers": answer.headers, "body": await self._body(answer, work, limit)})

    async def close(self) -> None:
        """Close the connections."""
        if self._outbound is not None:
            await self._outbound.aclose()

    async def _exchange(self, request: httpx2.Request, limit: int) -> Answer:
        if self._outbound is None:  # the first one: a TLS context costs 20 ms
            self._outbound = Outbound(AllowList.parse(self._services.settings.outbound_allow))
        response = await self._outbound.handle_async_request(request)
        try:
            return Answer(response.status_code, headers_of(response), await read(response, limit))
        finally:
            await response.aclose()

    async def _body(self, answer: Answer, work: Work, limit: int) -> Any:
        body = answer.body()
        if not isinstance(body, bytes):
            return body
        place = "" if work.index is None else f"-{work.index}"
        name = f"{work.call.step_key.replace('#', '-')}{place}-body"
        return await save(work, self._services.artifacts, limit, name, body, answer.media_type)


def build_request(spec: dict[str, Any], work: Work) -> httpx2.Request:
    """The request a rendered `http` mapping describes, with our own headers added. Raises StepFailed."""
    method = spec["method"]
    content, content_type = _content(spec)
    defaults = {"user-agent": "agentic-workflows", "accept": "*/*", "accept-encoding": "gzip"}
    if content_type:
        defaults["content-type"] = content_type
    if method not in SAFE_METHODS:
        defaults["idempotency-key"] = work.idempotency_key
    if work.traceparent:
        defaults["traceparent"] = work.traceparent
    given = _headers(spec["headers"])
    seconds = {"connect": CONNECT_SECONDS, "read": None, "write": None, "pool": None}
    try:
        return httpx2.Request(method, _url(spec), headers=defaults | given, content=content, extensions={"timeout": seconds})
    except (ValueError, UnicodeError) as error:
        raise StepFailed("request_invalid", f"a header of this request cannot be sent: {error}", retryable=False) from error


def simulated(request: httpx2.Request, spec: dict[str, Any]) -> dict[str, Any]:
    """The stand-in answer of a simulated run: no network, the same for the same request, marked as what it is."""
    body = {"simulated": True, "method": request.method, "url": str(request.url), "sent": spec["body"]}
    return {"status": 200, "headers": {"content-type": "application/json", "x-simulated": "true"}, "body": body}


def _url(spec: dict[str, Any]) -> httpx2.URL:
    try:
        url = httpx2.URL(spec["url"])
        if spec["query"]:
            url = url.copy_merge_params(_query(spec["query"]))
    except (httpx2.InvalidURL, ValueError, UnicodeError) as error:
        raise StepFailed("url_invalid", f"this is not a URL: {error}", retryable=False) from error
    if url.scheme not in ("http", "https") or not url.host:
        raise StepFailed("url_invalid", "the URL must begin with http:// or https:// and name a host", retryable=False)
    if url.port is not None and not 0 < url.port < 65536:
        raise StepFailed("url_invalid", "a port is between 1 and 65535", retryable=False)
    if url.userinfo:
        raise StepFailed("url_invalid", "credentials do not belong into a URL; send an Authorization header", retryable=False)
    return url


def _query(query: Mapping[str, Any]) -> dict[str, Any]:
    """Null leaves a parameter out, a list repeats it."""
    for name, value in query.items():
        if isinstance(value, dict) or (isinstance(value, list) and any(isinstance(part, (dict, list)) for part in value)):
            raise StepFailed("request_invalid", f"query parameter '{name}' is an object; write text, a number or a list of them", retryable=False)
    return {name: value for name, value in query.items() if value is not None}


def _headers(given: Mapping[str, Any]) -> dict[str, str]:
    headers = {name.lower(): value for name, value in given.items()}
    refused = sorted(headers.keys() & RESERVED_HEADERS)
    if refused:
        raise StepFailed("request_invalid", f"a step may not set the header {refused[0]}", retryable=False)
    return {name: value if isinstance(value, str) else to_json(value).decode() for name, value in headers.items()}


def _content(spec: dict[str, Any]) -> tuple[bytes | None, str | None]:
    body = spec["body"]
    if body is None:
        return None, None
    declared = next((str(value) for name, value in spec["headers"].items() if name.lower() == "content-type"), None)
    if isinstance(body, str) and declared and not _is_json(declared):
        return body.encode("utf-8", "replace"), declared
    return to_json(body), declared or "application/json"


def _is_json(content_type: str) -> bool:
    media_type = content_type.partition(";")[0].strip().lower()
    return media_type == "application/json" or media_type.endswith("+json")
