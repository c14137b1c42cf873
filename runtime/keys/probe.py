"""Does a provider take this key? One small request, answered with a word."""

import asyncio
import time
from dataclasses import dataclass
from enum import StrEnum

import httpcore2
import httpx2

from runtime.errors import StepFailed
from runtime.keys.pair import Pair
from runtime.keys.providers import PROVIDERS
from runtime.steps.outbound import CONNECT_SECONDS
from runtime.version import VERSION

PROBE_SECONDS = 8.0
"""Of a whole test."""
MAX_READ = 64 * 1024
"""Bytes of an answer that are looked at."""


class Verdict(StrEnum):
    """What a test of a key says."""

    ACCEPTED = "accepted"
    """The provider has answered as it does to those it knows."""
    REFUSED = "refused"
    """The provider does not take the key."""
    LIMITED = "limited"
    """Too many requests, or the account is empty: the key itself may be right."""
    UNREACHABLE = "unreachable"
    """Nobody answers there, or not in time."""
    NOT_ALLOWED = "not_allowed"
    """This installation does not send requests to that address."""
    UNEXPECTED = "unexpected"
    """Whoever answers there does not answer as the provider would."""


@dataclass(frozen=True, slots=True)
class Probed:
    """What became of a test. `detail` is a sentence of ours: nothing a provider writes is repeated, it may hold the key."""

    verdict: Verdict
    detail: str
    status: int | None = None
    """Of the provider's answer."""
    took_ms: int = 0


async def probe(provider: str, base_url: str, pair: Pair, transport: httpx2.AsyncBaseTransport) -> Probed:
    """Ask the provider at `base_url`, once, within 8 s. Whatever goes wrong is a verdict too."""
    started = time.monotonic()
    known = PROVIDERS[provider]
    headers = {"user-agent": f"agentic-workflows/{VERSION}", "accept": "application/json", "accept-encoding": "identity", **known.headers(pair.key)}
    timeout = {"connect": CONNECT_SECONDS, "read": None, "write": None, "pool": None}
    request = httpx2.Request("GET", base_url.rstrip("/") + known.path, headers=headers, extensions={"timeout": timeout})
    status: int | None = None
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            answer = await _exchange(transport, request)
    except (TimeoutError, httpcore2.TimeoutException):
        verdict, detail = Verdict.UNREACHABLE, f"there was no answer within {PROBE_SECONDS:.0f} s"
    except StepFailed as error:
        verdict, detail = Verdict.NOT_ALLOWED, str(error)
    except (httpcore2.NetworkError, httpcore2.ProtocolError) as error:
        # The text of such an error may repeat what was sent.
        verdict, detail = Verdict.UNREACHABLE, f"no answer could be had ({type(error).__name__})"
    else:
        status = answer[0]
        verdict, detail = _judged(*answer, known.refusal)
    return Probed(verdict, detail, status, round((time.monotonic() - started) * 1000))


async def _exchange(transport: httpx2.AsyncBaseTransport, request: httpx2.Request) -> tuple[int, bytes]:
    response = await transport.handle_async_request(request)
    body = bytearray()
    try:
        async for part in response.stream:  # type: ignore[union-attr]  # asynchronous transports give asynchronous streams only
            body += part
            if len(body) >= MAX_READ:
                break
    finally:
        await response.aclose()
    return response.status_code, bytes(body[:MAX_READ])


def _judged(status: int, body: bytes, refusal: bytes | None) -> tuple[Verdict, str]:
    if 200 <= status < 300:
        # A page of a proxy is no answer of a provider.
        good = body.lstrip()[:1] == b"{"
        return (Verdict.ACCEPTED, "the provider accepts the key") if good else (Verdict.UNEXPECTED, "the answer is not the JSON a provider gives")
    if status in (401, 403) or (status == 400 and refusal is not None and refusal in body):
        return Verdict.REFUSED, f"the provider refuses the key (status {status})"
    if status in (402, 429):
        return Verdict.LIMITED, f"the provider takes no more requests with this key for now (status {status})"
    if 300 <= status < 400:
        return Verdict.UNEXPECTED, f"the address redirects (status {status}), and a key is never sent on"
    return Verdict.UNEXPECTED, f"the provider answered with status {status}; is the base URL right?"
