"""A transport that reads no more of an answer than its limit: what a provider sends is as untrusted as what any server sends."""

from collections.abc import AsyncIterator
from contextvars import ContextVar

import httpx2

from runtime.agents.hearing import tell
from runtime.errors import StepFailed

MAX_ANSWER_BYTES = 16 * 2**20
"""Of one answer of a provider, and of one event of an answer that comes as a stream of events."""
MAX_STREAM_BYTES = 8 * MAX_ANSWER_BYTES
"""Of a whole stream: each event wraps a few characters of the answer into some 200 bytes. The answer in it has the bound of any other."""
EVENT_ENDS = (b"\n\n", b"\r\n\r\n", b"\r\r")

streamed: ContextVar[bool] = ContextVar("streamed", default=False)
"""Whether the request this task sends asks for a stream. What the answer says of itself does not count."""


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
        events = streamed.get() and response.headers.get("content-type", "").startswith("text/event-stream")
        response.stream = _BoundedEvents(response.stream, self._limit) if events else _Bounded(response.stream, self._limit)
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
                raise _too_large(self._limit)
            yield part

    async def aclose(self) -> None:
        await self._inner.aclose()  # type: ignore[union-attr]  # as above


class _BoundedEvents(_Bounded):
    """The reader of events keeps one of them at a time, however many there are."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        read, event, tail = 0, 0, b""
        async for part in self._inner:  # type: ignore[union-attr]  # as above
            read += len(part)
            window = tail + part
            ended = max(window.rfind(end) + len(end) if end in window else 0 for end in EVENT_ENDS)
            event = len(window) - ended if ended else event + len(part)
            if event > self._limit or read > MAX_STREAM_BYTES:
                raise _too_large(self._limit if event > self._limit else MAX_STREAM_BYTES)
            tail = window[-3:]
            yield part


def _too_large(limit: int) -> StepFailed:
    return StepFailed("response_too_large", f"the provider's answer has more than {limit} bytes", retryable=False)
