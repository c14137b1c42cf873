"""The HTTP client of the command: one place for the key, timeouts, pages and problem documents."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import httpx2

from actors.cli.connection import Connection, connect
from actors.cli.exits import CommandError, Exit, exit_for_code

TIMEOUT = httpx2.Timeout(30.0, connect=5.0)
STREAM_TIMEOUT = httpx2.Timeout(60.0, connect=5.0)
"""The server sends a keep-alive every 15 s, so a stream that is silent for a minute is dead."""


class Api:
    """Calls the HTTP API; every failure becomes a CommandError with the right exit code."""

    def __init__(self, connection: Connection, *, transport: httpx2.BaseTransport | None = None) -> None:
        self.connection = connection
        self._client = httpx2.Client(**_options(connection), transport=transport)

    def __enter__(self) -> "Api":
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def send(self, method: str, path: str, **options: Any) -> httpx2.Response:
        """One request; `options` are httpx2's (`params`, `json`, `content`, `headers`). Raises CommandError unless 2xx."""
        with _reaching(self.connection):
            response = self._client.request(method, path, **options)
        return checked(response)

    def call(self, method: str, path: str, **options: Any) -> Any:
        """The JSON of the answer; None when it has no body."""
        response = self.send(method, path, **options)
        return response.json() if response.content else None

    def pages(self, path: str, limit: int, **params: Any) -> list[dict[str, Any]]:
        """Up to `limit` entries of a list, following its cursor. The list stands under the path's last word."""
        name = path.rpartition("/")[2]
        entries: list[dict[str, Any]] = []
        wanted = {name: value for name, value in params.items() if value not in (None, [], "")}
        token = None
        while len(entries) < limit:
            page = self.call("GET", path, params={**wanted, "page_size": min(limit - len(entries), 100), **({"page_token": token} if token else {})})
            entries += page[name]
            token = page.get("next_page_token")
            if not token:
                break
        return entries[:limit]

    @contextmanager
    def download(self, path: str) -> Iterator[Iterator[bytes]]:
        """The body of a GET in chunks."""
        with _reaching(self.connection), self._client.stream("GET", path) as response:
            if response.is_error:
                response.read()
            yield checked(response).iter_bytes()


def api() -> Api:
    """A client for the platform that the environment or `agentic up` names."""
    return Api(connect())


@asynccontextmanager
async def async_client(connection: Connection) -> AsyncIterator[httpx2.AsyncClient]:
    """The same client for code that streams."""
    async with httpx2.AsyncClient(**_options(connection)) as client:
        yield client


def checked(response: httpx2.Response) -> httpx2.Response:
    """The response itself. Raises CommandError with the problem document's text unless it is 2xx."""
    if response.is_success:
        return response
    raise problem(response)


def problem(response: httpx2.Response) -> CommandError:
    """What an error answer says (RFC 9457), as an exception."""
    try:
        body = response.json()
    except ValueError:
        body = {}
    body = body if isinstance(body, dict) else {}
    code = str(body.get("code") or "")
    fallback = {401: Exit.REFUSED, 403: Exit.REFUSED, 404: Exit.NOT_FOUND, 409: Exit.CONFLICT, 429: Exit.LIMIT, 502: Exit.UNREACHABLE, 503: Exit.UNREACHABLE}
    exit_code = exit_for_code(code) if code else fallback.get(response.status_code, Exit.FAILED)
    message = str(body.get("detail") or body.get("title") or f"the platform answered {response.status_code}")
    if exit_code is Exit.REFUSED and code == "unauthorized":
        message += " (set AGENTIC_API_KEY, or run the command where `agentic up` ran)"
    details = [problem_line(entry) for entry in body.get("errors") or () if isinstance(entry, dict)]
    return CommandError(message, exit_code, details=details)


def problem_line(entry: dict[str, Any]) -> str:
    """One entry of a problem document: `3:5 /steps/a: no such step`."""
    place = ":".join(str(entry[name]) for name in ("line", "column") if entry.get(name))
    pointer = str(entry.get("pointer") or "")
    where = " ".join(part for part in (place, pointer) if part)
    return f"{where}: {entry.get('detail', '')}" if where else str(entry.get("detail", ""))


@contextmanager
def _reaching(connection: Connection) -> Iterator[None]:
    try:
        yield
    except httpx2.TransportError as error:
        raise unreachable(connection, error) from error


def unreachable(connection: Connection, error: Exception) -> CommandError:
    """The platform did not answer."""
    advice = "start it with `agentic up`" if connection.local else "check AGENTIC_URL"
    return CommandError(f"cannot reach {connection.url} ({error or type(error).__name__}); {advice}", Exit.UNREACHABLE)


def _options(connection: Connection) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {connection.key}"} if connection.key else {}
    # A proxy from the environment has no business between this command and a platform on the same machine.
    return {"base_url": connection.url, "headers": headers, "timeout": TIMEOUT, "trust_env": not connection.local}
