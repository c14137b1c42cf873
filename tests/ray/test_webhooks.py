"""Webhooks through the whole platform: in by a hook over HAProxy, out by the Supervisor's courier, and no secret in any log."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import httpx2
import pytest

from actors.lifecycle import platform_files
from tests.ray.conftest import Platform, until
from tests.support.receiver import Receiver, receiving

pytestmark = pytest.mark.ray


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver in a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    stack = AsyncExitStack()
    yield asyncio.run_coroutine_threadsafe(stack.enter_async_context(receiving()), loop).result(10)
    asyncio.run_coroutine_threadsafe(stack.aclose(), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def test_in_by_a_hook_and_out_by_the_courier(platform: Platform, receiver: Receiver) -> None:
    platform.api.post("/v1/workflows", json={"name": "hooked", "inputs": {"x": {"type": "integer"}}, "steps": {"a": {"set": {"x": "${{ inputs.x }}"}}}})
    endpoint = platform.api.post("/v1/endpoints", json={"url": receiver.url, "workflows": ["hooked"], "events": ["run.succeeded"]}).json()
    receiver.secrets = [endpoint["secret"]]
    hook = platform.api.post("/v1/hooks", json={"name": "hooked", "workflow": "hooked", "verify": "none"}).json()
    answer = httpx2.post(hook["url"], json={"x": 1}, timeout=30)
    assert answer.status_code == 202, answer.text
    (got,) = until(lambda: receiver.got)
    assert got.message["data"]["run_id"] == answer.json()["run_id"]
    assert receiver.forged == []
    httpx2.post(hook["url"], json={"x": "no integer"}, timeout=30)
    secrets = [hook["url"].rpartition("/")[2], endpoint["secret"].removeprefix("whsec_")]
    logs = [*platform_files(platform.settings).folder.rglob("*"), *(platform.settings.home / "logs").rglob("*")]
    assert len(logs) > 10
    assert [str(path) for path in logs if holds(path, secrets)] == []


def holds(path: Path, secrets: list[str]) -> bool:
    """Whether a regular file has one of these in it."""
    if not path.is_file() or path.is_symlink():
        return False
    text = path.read_bytes()
    return any(secret.encode() in text for secret in secrets)
