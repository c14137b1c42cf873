"""One try of one delivery: signed, sent through the guarded way out, its answer read within bounds."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

import httpcore2
import httpx2

from runtime.clock import Clock
from runtime.courier.schedule import Answer
from runtime.errors import SecretUnreadable, StepFailed
from runtime.redaction import redact
from runtime.secrets import SecretBox
from runtime.signatures import PREFIX, Signed, key_of
from runtime.steps.outbound import CONNECT_SECONDS
from runtime.steps.response import retry_after
from runtime.store.webhooks import EndpointRow, Parcel
from runtime.version import VERSION

TIMEOUT_SECONDS = 15.0
"""Of a whole try."""
MAX_ANSWER = 64 * 1024
"""Bytes of an answer that are read, so that its connection can be used again; nobody looks at them."""


class Sender:
    """`transport` opens the way out when something is first sent: its TLS context costs 20 ms. Raises ValueError for wrong settings."""

    def __init__(self, box: SecretBox, transport: Callable[[], httpx2.AsyncBaseTransport], clock: Clock) -> None:
        self._box = box
        self._open = transport
        self._clock = clock
        self._transport: httpx2.AsyncBaseTransport | None = None

    async def send(self, parcel: Parcel) -> Answer:
        """Try once. Whatever goes wrong is an answer too, and is kept: without secrets, and without those of the address."""
        answer = await self._tried(parcel)
        return answer if answer.error is None else replace(answer, error=redact(answer.error))

    async def _tried(self, parcel: Parcel) -> Answer:
        delivery, endpoint = parcel.delivery, parcel.endpoint
        try:
            keys, transport = self._keys(endpoint), self._way_out()
        except (SecretUnreadable, ValueError) as error:
            return Answer(error=str(error), untried=True)  # our own settings are at fault, not the receiver
        body, now = delivery.payload.encode(), self._clock.now()
        headers = {
            "content-type": "application/json",
            "user-agent": f"agentic-workflows/{VERSION}",
            "accept-encoding": "identity",
            **({"traceparent": parcel.traceparent} if parcel.traceparent else {}),
            **Signed(delivery.id, now // 1000, body).headers(keys),
        }
        try:
            return await _exchange(transport, endpoint.url, headers, body)
        except (TimeoutError, httpcore2.TimeoutException):
            return Answer(error=f"the receiver did not answer within {TIMEOUT_SECONDS:.0f} s")
        except StepFailed as error:
            return Answer(error=str(error))
        except (httpcore2.NetworkError, httpcore2.ProtocolError) as error:
            return Answer(error=f"the receiver cannot be reached: {error or type(error).__name__}")
        except (httpx2.InvalidURL, ValueError) as error:
            return Answer(error=f"the endpoint's URL cannot be used: {error}")

    async def close(self) -> None:
        """Close the connections."""
        if self._transport is not None:
            await self._transport.aclose()

    def _keys(self, endpoint: EndpointRow) -> list[bytes]:
        """The key to sign with, and the one before while it still counts. Raises SecretUnreadable for the first."""
        keys = [self._key(endpoint, endpoint.secret)]
        if endpoint.previous_secret is not None and self._clock.now() < (endpoint.previous_until or 0):
            try:
                keys.append(self._key(endpoint, endpoint.previous_secret))
            except SecretUnreadable:
                return keys  # the secret was rotated because nobody could read it any more
        return keys

    def _key(self, endpoint: EndpointRow, envelope: str) -> bytes:
        secret = self._box.open(envelope, endpoint.place).decode()
        redact.know(secret.removeprefix(PREFIX))
        return key_of(secret)

    def _way_out(self) -> httpx2.AsyncBaseTransport:
        if self._transport is None:
            self._transport = self._open()
        return self._transport


async def _exchange(transport: httpx2.AsyncBaseTransport, url: str, headers: dict[str, str], body: bytes) -> Answer:
    timeout = {"connect": CONNECT_SECONDS, "read": None, "write": None, "pool": None}
    request = httpx2.Request("POST", url, headers=headers, content=body, extensions={"timeout": timeout})
    until = asyncio.get_running_loop().time() + TIMEOUT_SECONDS
    async with asyncio.timeout_at(until):
        response = await transport.handle_async_request(request)
    answer = Answer(response.status_code, retry_after=retry_after(response.headers.get("retry-after")))
    try:
        async with asyncio.timeout_at(until):
            await _read(response)
    except (TimeoutError, httpcore2.NetworkError, httpcore2.ProtocolError):
        return answer  # its status has arrived, and that is what counts
    finally:
        await response.aclose()
    return answer


async def _read(response: httpx2.Response) -> None:
    size = 0
    async for part in response.stream:  # type: ignore[union-attr]  # asynchronous transports give asynchronous streams only
        size += len(part)
        if size > MAX_ANSWER:
            return
