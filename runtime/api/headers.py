"""What every response carries, and what request headers must look like."""

import re
from collections.abc import Sequence

from runtime.api.problems import HeadersTooLarge, HostNotAllowed, Malformed
from runtime.errors import Problem, RequestInvalid

MAX_HEADER_BYTES = 16 * 1024
MAX_WAIT_SECONDS = 60

SECURITY: dict[bytes, bytes] = {
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
    b"content-security-policy": b"default-src 'none'; frame-ancestors 'none'",
    b"cross-origin-resource-policy": b"same-origin",
    b"cache-control": b"no-store",
}
"""Set unless the route has set its own."""

Raw = Sequence[tuple[bytes, bytes]]

_PORT = re.compile(r":[0-9]{1,5}$")
_KEY = re.compile(r"[\x21-\x7e]{1,255}")
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_WAIT = re.compile(r"(?:^|[,;\s])wait=([0-9]{1,6})(?=$|[,;\s])")


def check_size(headers: Raw) -> None:
    """Raises HeadersTooLarge."""
    if sum(len(name) + len(value) + 4 for name, value in headers) > MAX_HEADER_BYTES:
        raise HeadersTooLarge(f"the headers have more than {MAX_HEADER_BYTES} bytes")


def check_host(headers: Raw, allowed: Sequence[str]) -> None:
    """One Host header with an allowed name: a page of another site that points its own name here gets nothing. Raises HostNotAllowed."""
    if "*" in allowed:
        return
    hosts = [value for name, value in headers if name == b"host"]
    host = _PORT.sub("", hosts[0].decode("latin-1").lower()) if len(hosts) == 1 else ""
    if host not in allowed:
        raise HostNotAllowed("the Host header names a host this server does not answer for")


def secured(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """A response's headers with the missing security headers added."""
    present = {name.lower() for name, _ in headers}
    return headers + [pair for pair in SECURITY.items() if pair[0] not in present]


def idempotency_key(value: str | None) -> str | None:
    """The key of an `Idempotency-Key` header, quoted or bare. Raises RequestInvalid."""
    if value is None:
        return None
    key = value[1:-1] if len(value) > 2 and value[0] == value[-1] == '"' else value
    if not _KEY.fullmatch(key):
        raise _invalid("Idempotency-Key", "1 to 255 visible ASCII characters")
    return key


def etag(value: str | None) -> str | None:
    """The version an `If-Match` header names. Raises RequestInvalid."""
    if value is None:
        return None
    if not re.fullmatch(r'"[0-9a-f]{64}"', value):
        raise _invalid("If-Match", "one entity tag as this server gives it: a version in double quotes")
    return value[1:-1]


def traceparent(value: str | None) -> str | None:
    """A valid W3C `traceparent`; anything else is ignored, as the standard asks."""
    return value if value is not None and _TRACEPARENT.fullmatch(value) else None


def wait_seconds(prefer: Sequence[str]) -> int:
    """How long a client prefers to wait for the run's end (RFC 7240), at most 60 s; 0 without a preference."""
    match = _WAIT.search(",".join(prefer))
    return min(int(match[1]), MAX_WAIT_SECONDS) if match else 0


def event_id(value: str | None) -> int | None:
    """The seq a `Last-Event-ID` header names. Raises RequestInvalid."""
    if value is None or value == "":
        return None
    if not re.fullmatch(r"[0-9]{1,15}", value):
        raise _invalid("Last-Event-ID", "the id of an event of this stream")
    return int(value)


def bearer(headers: Raw) -> str | None:
    """The token of the one `Authorization: Bearer` header, or None. Raises Malformed for several."""
    given = [value for name, value in headers if name == b"authorization"]
    if len(given) > 1:
        raise Malformed("there are several Authorization headers")
    scheme, _, token = (given[0] if given else b"").partition(b" ")
    return token.strip().decode("latin-1") if scheme.lower() == b"bearer" else None


def _invalid(name: str, wanted: str) -> RequestInvalid:
    detail = f"{name} is not valid; send {wanted}"
    return RequestInvalid(detail, problems=[Problem(f"/header/{name}", detail)])
