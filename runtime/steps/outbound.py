"""The one way out to the network for what users can steer: the address that was checked is the address that is dialled.

No redirects, no proxies from the environment, no cookies, no credentials of our own. Names are resolved once per connection and
every address a name has must be in order, so neither odd spellings nor a name server that changes its mind gets through.
"""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from typing import Any

import httpcore2
import httpx2

from runtime.connections import KEPT_SECONDS, MOST_IDLE, Expiry
from runtime.errors import StepFailed
from runtime.steps.addresses import Address, AllowList

MAX_CONNECTIONS = 1_000
CONNECT_SECONDS = 10.0

Resolver = Callable[[str, int], Awaitable[Sequence[Address]]]


async def system_addresses(host: str, port: int) -> Sequence[Address]:
    """What the system's resolver says, in its order. Raises httpcore2.ConnectError."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise httpcore2.ConnectError(f"cannot resolve {host!r}") from error
    return [ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]


def refused(host: str, port: int) -> StepFailed:
    """What is told of a place nobody may reach. The address stays out of it: an answer must not tell what the inside looks like."""
    return StepFailed("outbound_refused", f"{host}:{port} is not a public address on port 80 or 443, and not on the operator's list", retryable=False)


class _GuardedBackend(httpcore2.AsyncNetworkBackend):
    def __init__(self, allow: AllowList, resolve: Resolver) -> None:
        self._allow = allow
        self._resolve = resolve
        self._dialler = httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        addresses = await self._resolve(host, port)
        if not addresses:
            raise httpcore2.ConnectError(f"{host!r} has no address")
        if not all(self._allow.allows(host, port, address) for address in addresses):
            raise refused(host, port)
        failure: Exception = httpcore2.ConnectError("no address answered")
        for address in addresses:
            try:
                return await self._dialler.connect_tcp(str(address), port, timeout, local_address, socket_options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failure = error
        raise failure


class _Body(httpx2.AsyncByteStream):
    def __init__(self, stream: Any) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._stream:
            yield part

    async def aclose(self) -> None:
        await self._stream.aclose()


class Outbound(httpx2.AsyncBaseTransport):
    """A guarded transport with its own pool of connections: use it as it is, or as `transport=` of an httpx2.AsyncClient.

    Raises StepFailed `outbound_refused` for what may not be reached, and httpcore2's own errors for what cannot.
    """

    def __init__(self, allow: AllowList, *, resolve: Resolver = system_addresses, tls: ssl.SSLContext | None = None) -> None:
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=tls or httpx2.create_ssl_context(trust_env=False),
            max_connections=MAX_CONNECTIONS,
            max_keepalive_connections=MOST_IDLE,
            keepalive_expiry=KEPT_SECONDS,
            network_backend=_GuardedBackend(allow, resolve),
        )
        self._expiry = Expiry(self._pool, KEPT_SECONDS)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        url = request.url
        if url.scheme not in ("http", "https") or not url.host:
            raise StepFailed("url_invalid", "the URL must begin with http:// or https:// and name a host", retryable=False)
        self._expiry.watch()
        answer = await self._pool.handle_async_request(
            httpcore2.Request(
                method=request.method,
                url=httpcore2.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
                headers=request.headers.raw,
                content=request.stream,
                extensions=request.extensions,
            )
        )
        return httpx2.Response(status_code=answer.status, headers=answer.headers, stream=_Body(answer.stream), extensions=answer.extensions)

    async def aclose(self) -> None:
        self._expiry.stop()
        await self._pool.aclose()
