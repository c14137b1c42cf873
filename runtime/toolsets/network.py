"""The guarded way out for tools: https or an address the operator lists, one bounded answer to one request, no redirects."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import httpcore2
import httpx2

from runtime.agents.tools import ToolRefused
from runtime.errors import StepFailed

CONNECT_SECONDS = 10.0
TIMEOUTS = {"connect": CONNECT_SECONDS, "read": None, "write": None, "pool": None}
"""Of a request; its whole time is bounded by whoever sends it."""


@dataclass(frozen=True, slots=True)
class Network:
    """A transport that refuses addresses of the inside, and whether the operator has listed a host and port as one that may be reached."""

    transport: httpx2.AsyncBaseTransport
    listed: Callable[[str, int], bool]

    def checked(self, url: str) -> httpx2.URL:
        """The URL, if tools may be there: with TLS, or at a host on the operator's list. Raises StepFailed `url_invalid`, never retryable."""
        try:
            found = httpx2.URL(url)
        except (httpx2.InvalidURL, ValueError) as error:
            raise StepFailed("url_invalid", f"this is no URL: {url[:200]}", retryable=False) from error
        port = found.port or (443 if found.scheme == "https" else 80)
        if found.scheme != "https" and not (found.scheme == "http" and self.listed(found.host, port)):
            raise StepFailed("url_invalid", f"{found.host}: tools are reached by https, or at a host in outbound_allow", retryable=False)
        if found.userinfo:
            raise StepFailed("url_invalid", "credentials do not belong into a URL", retryable=False)
        return found

    async def exchange(self, request: httpx2.Request, *, limit: int, seconds: float) -> "Answer":
        """Send a request and read its answer, at most `limit` bytes of it.

        Raises StepFailed `outbound_refused`, or `tool_unavailable` and `timeout`, both retryable, when there is no whole answer; ToolRefused when
        the answer cannot be used.
        """
        host = request.url.host
        request.headers["accept-encoding"] = "identity"
        try:
            async with asyncio.timeout(seconds):
                response = await self.transport.handle_async_request(request)
                try:
                    return Answer(response.status_code, response.headers, await read(response, limit))
                finally:
                    await response.aclose()
        except (TimeoutError, httpcore2.TimeoutException) as error:
            raise StepFailed("timeout", f"{host} did not answer in time") from error
        except httpcore2.LocalProtocolError as error:
            raise ToolRefused(f"this request cannot be sent: {error}") from error
        except (httpcore2.NetworkError, httpcore2.ProtocolError) as error:
            raise StepFailed("tool_unavailable", f"{host} cannot be reached: {type(error).__name__}") from error


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer."""

    status: int
    headers: httpx2.Headers
    content: bytes

    @property
    def media_type(self) -> str:
        found: str = self.headers.get("content-type", "")
        return found.partition(";")[0].strip().lower()


async def read(response: httpx2.Response, limit: int) -> bytes:
    """The body. Raises ToolRefused beyond the limit, and for one that is packed: unpacked it would have no bound."""
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        raise ToolRefused("the answer is packed, although that was not offered")
    content = bytearray()
    async for part in parts(response):
        content += part
        if len(content) > limit:
            raise ToolRefused(f"the answer has more than {limit} bytes: ask for less")
    return bytes(content)


def parts(response: httpx2.Response) -> AsyncIterator[bytes]:
    """The body as it comes."""
    stream: httpx2.AsyncByteStream = response.stream  # type: ignore[assignment]  # an asynchronous transport gives asynchronous streams only
    return stream.__aiter__()
