"""A transport that reads no more of an answer than its limit: what a provider sends is as untrusted as what any server sends."""

from collections.abc import AsyncIterator

import httpx2

from runtime.agents.hearing import tell
from runtime.errors import StepFailed

MAX_ANSWER_BYTES = 16 * 2**20
"""Of one answer of a provider."""


class BoundedTransport(httpx2.AsyncBaseTransport):
    """Passes requests on and cuts answers off at the limit. Answers come as they are: an unpacked one would have no bound."""

    def __init__(self, inner: httpx2.AsyncBaseTransport, limit: int = MAX_ANSWER_BYTES) -> None:
        self._inner, self._limit = inner, limit

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """The answer; reading it raises StepFailed `response_too_large` beyond the limit. Raises `response_invalid` for a packed one."""
        request.headers["accept-encoding"] = "identity"
        response = await self._inner.handle_async_request(request)
        tell(response.headers)
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            await response.aclose()
            raise StepFailed("response_invalid", "the answer is packed, although that was not offered")
        response.stream = _Bounded(response.stream, self._limit)
        return response

    async def aclose(self) -> None:
        await self._inner.aclose()


class _Bounded(httpx2.AsyncByteStream):
    def __init__(self, inner: httpx2.SyncByteStream | httpx2.AsyncByteStream, limit: int) -> None:
        self._inner, self._limit = inner, limit

    async def __aiter__(self) -> AsyncIterator[bytes]:
        read = 0
        async for part in self._inner:  # type: ignore[union-attr]  # an asynchronous transport gives asynchronous streams only
            read += len(part)
            if read > self._limit:
                raise StepFailed("response_too_large", f"the provider's answer has more than {self._limit} bytes", retryable=False)
            yield part

    async def aclose(self) -> None:
        await self._inner.aclose()  # type: ignore[union-attr]  # as above
