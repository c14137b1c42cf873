"""Step functions of the programs. Their effects go to the witness, with the step's idempotency key and without retries of their own."""

import asyncio
import ctypes
import os
import time
from typing import Any
from weakref import WeakKeyDictionary

import httpx2

from runtime.errors import StepFailed
from tests.chaos.values import digest

_clients: WeakKeyDictionary[asyncio.AbstractEventLoop, httpx2.AsyncClient] = WeakKeyDictionary()
SECONDS = 60.0
LIMITS = httpx2.Limits(max_connections=500, max_keepalive_connections=8)
"""Few of them stay open: this client closes idle ones only when it is asked again, and they would count as the AgentActor's own."""


def _client() -> httpx2.AsyncClient:
    loop = asyncio.get_running_loop()
    if loop not in _clients:
        _clients[loop] = httpx2.AsyncClient(timeout=SECONDS, trust_env=False, limits=LIMITS)
    return _clients[loop]


async def _post(witness: str, key: str, body: dict[str, Any]) -> dict[str, Any]:
    answer = await _client().post(f"{witness}/effect", json=body, headers={"Idempotency-Key": key})
    if answer.status_code != 200:
        raise StepFailed("refused", f"the ledger answered {answer.status_code}")
    found: dict[str, Any] = answer.json()
    return found


async def effect(witness: str, tag: str, parts: Any, context: Any, fail_first: int = 0, delay: float = 0.0) -> dict[str, Any]:
    """Have the effect; its value is what the ledger says."""
    body = {"tag": tag, "parts": parts, "fail_first": fail_first, "delay": delay}
    return {"value": (await _post(witness, context.idempotency_key, body))["value"]}


async def fragile(witness: str, tag: str, parts: Any, fails: bool, context: Any) -> dict[str, Any]:
    """Have the effect, unless it is to fail for good before."""
    if fails:
        raise StepFailed("planned", "it was meant to fail", retryable=False)
    return await effect(witness, tag, parts, context)


async def mix(parts: Any) -> dict[str, Any]:
    """A number that stands for all parts; no effect."""
    return {"value": digest(parts)}


def isolated(witness: str, tag: str, parts: Any, context: Any, crash_first: int = 0, how: str = "exit", seconds: float = 0.0) -> dict[str, Any]:
    """The effect from a process of its own, which dies after it as often as it is told to."""
    body = {"tag": tag, "parts": parts, "count": True}
    answer = httpx2.post(f"{witness}/effect", json=body, headers={"Idempotency-Key": context.idempotency_key}, timeout=SECONDS, trust_env=False).json()
    if answer["number"] <= crash_first:
        die(how)
    time.sleep(seconds)
    return {"value": answer["value"]}


async def crash(witness: str, tag: str, parts: Any, context: Any, crash_first: int = 0, how: str = "exit") -> dict[str, Any]:
    """The effect, and then the end of the process that carries out many steps, as often as it is told to."""
    answer = await _post(witness, context.idempotency_key, {"tag": tag, "parts": parts, "count": True})
    if answer["number"] <= crash_first:
        die(how)
    return {"value": answer["value"]}


async def spin(seconds: float) -> dict[str, Any]:
    """Block the event loop of whoever carries this out."""
    time.sleep(seconds)  # noqa: ASYNC251 - that is the point
    return {"value": 0}


def die(how: str) -> None:
    """End this process the hard way."""
    if how == "segfault":
        ctypes.string_at(0)
    os._exit(17)
