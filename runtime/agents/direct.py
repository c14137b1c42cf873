"""The way to addresses the operator has chosen: httpx2 as the SDKs know it, over aiohttp's connections.

A model call's way through httpx2's own transport took a third of what the call costs in CPU, through aiohttp's compiled parser a tenth.
"""

from collections.abc import AsyncIterator

import aiohttp
import httpx2
from yarl import URL

from runtime.connections import KEPT_SECONDS

MAX_HEADER = 64 * 1024
"""Bytes of a line of an answer's head."""

_FAILURES: tuple[tuple[type[Exception], type[httpx2.TransportError]], ...] = (
    (aiohttp.ConnectionTimeoutError, httpx2.ConnectTimeout),
    (aiohttp.SocketTimeoutError, httpx2.ReadTimeout),
    (TimeoutError, httpx2.PoolTimeout),
    (aiohttp.ClientConnectorError, httpx2.ConnectError),
    (aiohttp.ServerDisconnectedError, httpx2.RemoteProtocolError),
    (aiohttp.ClientPayloadError, httpx2.RemoteProtocolError),
    (aiohttp.ClientResponseError, httpx2.RemoteProtocolError),
    (aiohttp.NonHttpUrlClientError, httpx2.UnsupportedProtocol),
    (aiohttp.InvalidURL, httpx2.UnsupportedProtocol),
    (OSError, httpx2.ReadError),
    (aiohttp.ClientError, httpx2.NetworkError),
    (ValueError, httpx2.LocalProtocolError),  # a line break in a header
)
"""The first match counts: special before general."""


class DirectTransport(httpx2.AsyncBaseTransport):
    """Proxies from the environment are not used, redirects are not followed, answers are not unpacked. For one event loop.

    Raises what httpx2's own transport raises.
    """

    def __init__(self, most: int) -> None:
        """`most`: connections at once."""
        self._most = most
        self._session: aiohttp.ClientSession | None = None

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        limits: dict[str, float | None] = request.extensions.get("timeout", {})
        timeout = aiohttp.ClientTimeout(total=None, connect=limits.get("pool"), sock_connect=limits.get("connect"), sock_read=limits.get("read"))
        try:
            answer = await self._opened().request(
                request.method,
                URL(str(request.url), encoded=True),
                headers=[(name.decode(), value.decode()) for name, value in request.headers.raw],
                data=await request.aread() or None,
                timeout=timeout,
                allow_redirects=False,
            )
        except (aiohttp.ClientError, OSError, ValueError) as error:  # TimeoutError is an OSError
            raise _failure(error, request) from error
        return httpx2.Response(answer.status, headers=list(answer.raw_headers), stream=_Body(answer, request), extensions={"http_version": b"HTTP/1.1"})

    async def aclose(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=self._most, keepalive_timeout=KEPT_SECONDS, ssl=httpx2.create_ssl_context(trust_env=False))
            self._session = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
                auto_decompress=False,
                max_line_size=MAX_HEADER,
                max_field_size=MAX_HEADER,
                trust_env=False,
            )
        return self._session


class _Body(httpx2.AsyncByteStream):
    """What comes of an answer. Closed before its end, the connection goes with it: the server shall see that nobody listens any more."""

    def __init__(self, answer: aiohttp.ClientResponse, request: httpx2.Request) -> None:
        self._answer, self._request = answer, request

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for part in self._answer.content.iter_any():
                yield part
        except (aiohttp.ClientError, OSError) as error:
            raise _failure(error, self._request) from error

    async def aclose(self) -> None:
        self._answer.close()


def _failure(error: Exception, request: httpx2.Request) -> httpx2.TransportError:
    kind = next((theirs for ours, theirs in _FAILURES if isinstance(error, ours)), httpx2.TransportError)
    return kind(str(error), request=request)
