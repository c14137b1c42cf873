"""HTTP under an MCP session, with bounds. What goes wrong with one request is the answer to that request: the session and its others go on.

The SDK would end the whole session when a transport raises, and with it the calls of other steps. So failures become JSON-RPC errors with
a mark no server knows.
"""

import json
import secrets
from collections.abc import AsyncIterator
from typing import Any

import httpcore2
import httpx2

from runtime.errors import StepFailed
from runtime.toolsets.network import parts

MAX_ANSWER = 4 * 2**20
"""Bytes of one answer."""
MAX_STREAM = 64 * 2**20
"""Bytes of one stream of events, each of them at most an answer: progress, logs, and what nobody asked for come before the answer."""
UNSENT, LOST = "unsent", "lost"
"""The request has not reached the server; whether it has is not known."""
REFUSED = "refused"
"""The request, or its answer, is not allowed."""

_MARK = secrets.token_hex(16)
_CODE = -32050


class Cut(httpx2.StreamError):
    """The answer is longer than it may be, or ends before its end."""


class McpTransport(httpx2.AsyncBaseTransport):
    """Passes requests on to a guarded transport."""

    def __init__(self, inner: httpx2.AsyncBaseTransport) -> None:
        self._inner = inner

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """The answer, or one of our own that says why there is none."""
        request.headers["accept-encoding"] = "identity"
        try:
            response = await self._inner.handle_async_request(request)
        except StepFailed as refusal:
            return _own(REFUSED, str(refusal))
        except (httpcore2.ConnectError, httpcore2.ConnectTimeout, httpcore2.PoolTimeout) as error:
            return _own(UNSENT, f"{request.url.host} cannot be reached: {type(error).__name__}")
        except (httpcore2.NetworkError, httpcore2.ProtocolError, httpcore2.TimeoutException) as error:
            return _own(LOST, f"{request.url.host} has not answered: {type(error).__name__}")
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            await response.aclose()
            return _own(REFUSED, "the answer is packed, although that was not offered")
        response.stream = _Bounded(response)
        return response

    async def aclose(self) -> None:
        """Nothing: the transport below is shared."""


class _Bounded(httpx2.AsyncByteStream):
    def __init__(self, response: httpx2.Response) -> None:
        self._parts = parts(response)
        self._stream: Any = response.stream
        self._limit = MAX_STREAM if response.headers.get("content-type", "").lower().startswith("text/event-stream") else MAX_ANSWER

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        try:
            async for part in self._parts:
                size += len(part)
                if size > self._limit:
                    raise Cut(f"the answer has more than {self._limit} bytes")
                yield part
        except (httpcore2.NetworkError, httpcore2.ProtocolError, httpcore2.TimeoutException) as error:
            raise Cut(f"the answer ends in the middle: {type(error).__name__}") from error

    async def aclose(self) -> None:
        await self._stream.aclose()


def _own(kind: str, message: str) -> httpx2.Response:
    body = {"jsonrpc": "2.0", "id": None, "error": {"code": _CODE, "message": message, "data": {_MARK: kind}}}
    return httpx2.Response(502, headers={"content-type": "application/json"}, stream=_Whole(json.dumps(body).encode()))


class _Whole(httpx2.AsyncByteStream):
    def __init__(self, content: bytes) -> None:
        self._content = content

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._content

    async def aclose(self) -> None:
        """Nothing is open."""


def kind_of(data: Any) -> str | None:
    """What our own transport says of a failed request, from the `data` of its JSON-RPC error; None when a server said it."""
    return data.get(_MARK) if isinstance(data, dict) else None
