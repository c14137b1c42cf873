"""The way to addresses the operator has chosen."""

import httpx2

from runtime.connections import KEPT_SECONDS, MOST_IDLE, Expiry


class DirectTransport(httpx2.AsyncHTTPTransport):
    """Proxies from the environment are not used, redirects are not followed, and idle connections do not stay open for ever."""

    def __init__(self, most: int) -> None:
        """`most`: connections at once."""
        super().__init__(limits=httpx2.Limits(max_connections=most, max_keepalive_connections=MOST_IDLE, keepalive_expiry=KEPT_SECONDS))
        self._expiry = Expiry(self._pool, KEPT_SECONDS)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        self._expiry.watch()
        return await super().handle_async_request(request)

    async def aclose(self) -> None:
        self._expiry.stop()
        await super().aclose()
