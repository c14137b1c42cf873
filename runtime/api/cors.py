"""Cross-origin requests: only from origins the operator has listed, and never with cookies."""

from collections.abc import Sequence

from starlette.datastructures import Headers
from starlette.responses import Response

METHODS = "GET, POST, PUT, DELETE"
REQUEST_HEADERS = "Authorization, Content-Type, Idempotency-Key, If-Match, Last-Event-ID, Prefer, traceparent, tracestate"
EXPOSED = "ETag, Location, Preference-Applied, Retry-After, traceparent"


def preflight(method: str, headers: Headers, origins: Sequence[str]) -> Response | None:
    """The answer to a preflight from a listed origin; None for every other request."""
    origin = headers.get("origin")
    if method != "OPTIONS" or origin is None or origin not in origins or "access-control-request-method" not in headers:
        return None
    allow = {"Access-Control-Allow-Methods": METHODS, "Access-Control-Allow-Headers": REQUEST_HEADERS, "Access-Control-Max-Age": "600"}
    return Response(status_code=204, headers={**allow, "Access-Control-Allow-Origin": origin, "Vary": "Origin"})


def allowed(headers: Headers, origins: Sequence[str]) -> list[tuple[bytes, bytes]]:
    """What a response to a listed origin carries in addition."""
    origin = headers.get("origin")
    if origin is None or origin not in origins:
        return [(b"vary", b"Origin")] if origins else []
    return [
        (b"access-control-allow-origin", origin.encode("latin-1")),
        (b"access-control-expose-headers", EXPOSED.encode()),
        (b"cross-origin-resource-policy", b"cross-origin"),
        (b"vary", b"Origin"),
    ]
