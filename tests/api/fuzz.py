"""schemathesis over the OpenAPI document of a running API: no 5xx, no undocumented status, answers as documented.

`python -m tests.api.fuzz --minutes 10` starts an API of its own and reports what it finds.
"""

import argparse
import socket
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import schemathesis
import uvicorn
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as hypothesis_settings
from pydantic import SecretStr
from schemathesis import checks

from runtime.api.app import build_app
from runtime.api.keys import ADMIN, issue
from runtime.api.services import Services, over
from runtime.artifacts.open import open_artifacts
from runtime.engine.events import Kind
from runtime.gateway import Gateway
from runtime.gateway.hooks import HookRequest
from runtime.ids import uuid7
from runtime.scheduling.service import Scheduling
from runtime.settings import Settings
from runtime.store.catalog_protocol import ArtifactRow
from runtime.store.open import open_store
from runtime.store.protocol import ApprovalRow
from tests.api.conftest import Idle
from tests.api.world import AT, World

CHECKS = [
    checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]


class Target:
    """A running API with something of everything in it."""

    url: str
    key: str
    known: dict[str, str]


@contextmanager
def target(home: Path) -> Iterator[Target]:
    """Serve the API from a thread of its own on a free port."""
    found, settings = Target(), Settings(home=home)

    @asynccontextmanager
    async def services() -> AsyncIterator[Services]:
        store = await open_store(settings.database)
        gateway = Gateway(store.journal, store.catalog, open_artifacts(settings), Idle(), settings)
        key, _ = await issue(store.catalog, "default", name="fuzz", scopes=(ADMIN,), now=0)
        found.key, found.known = key.text, await populate(World(gateway, store, key.text))
        try:
            yield over(store, gateway, settings)
        finally:
            await store.close()

    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(build_app(services, settings), log_level="error", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    found.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    thread.start()
    try:
        yield found
    finally:
        server.should_exit = True
        thread.join(timeout=10)
        listener.close()


async def populate(world: World) -> dict[str, str]:
    """A run in the middle of everything; path parameters that lead to it."""
    run = await world.run()
    owner = await world.own(run.run_id)
    await owner.begin()
    approval = uuid7()
    await owner.write(
        (Kind.STEP_STARTED, "each", 1, {"total": 3}),
        (Kind.ITEMS_STARTED, "each", None, {"items": [[0, 1]], "attempt": 1}),
        (Kind.ITEMS_FINISHED, "each", None, {"done": [[0, "A"]], "failed": [[1, 1, {"code": "boom", "message": "no"}]]}),
        (Kind.STEP_WAITING, "ask", 1, {"for": "approval", "approval_id": approval}),
        approvals=(ApprovalRow(approval, run.run_id, "demo", "ask", AT, "Good?"),),
    )
    minutely = {"name": "demo", "workflow": "demo", "cron": "* * * * *", "inputs": {"topic": "whales"}, "jitter": "30s"}
    await Scheduling(world.gateway, world.store.schedules).put("default", minutely)
    digest, size = await world.gateway.artifacts.put(b"hello")
    await world.store.catalog.put_artifact(ArtifactRow(run.run_id, "a.txt", digest, size, "text/plain", AT, "first"))
    known = {"run_id": run.run_id, "approval_id": approval, "step": "each", "sha256": digest}
    return {**known, **await populate_webhooks(world)}


async def populate_webhooks(world: World) -> dict[str, str]:
    """An endpoint with a delivery and a hook that checks nothing, so that requests get through to the inputs."""
    made = over(world.store, world.gateway, world.gateway.settings)
    endpoint, _ = await made.endpoints.create("default", "https://receiver.example/in", events=["*"])
    delivery = await made.endpoints.test("default", endpoint.endpoint_id)
    hook = await made.hooks.create("default", HookRequest("fuzz", "demo", verify="none"))
    await made.provider_keys.put("default", "openai", SecretStr("sk-" + "x" * 30), None, by="fuzz")
    known = {"endpoint_id": endpoint.endpoint_id, "delivery_id": delivery.id, "hook_id": hook.hook.hook_id, "token": hook.token}
    return {**known, "provider": "openai"}


def fuzz(found: Target, *, examples: int, keep_going: Callable[[], bool] = lambda: True) -> int:
    """Try every operation with `examples` requests, valid and not. Returns the number of requests. Raises what schemathesis finds."""
    headers = {"Authorization": f"Bearer {found.key}"}
    schema = schemathesis.openapi.from_url(f"{found.url}/openapi.json", headers={"Host": "localhost"})
    made = 0
    for result in schema.get_all_operations():
        operation = result.ok()

        @hypothesis_settings(max_examples=examples, deadline=None, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
        @given(case=operation.as_strategy())
        def attempt(case: Any) -> None:
            nonlocal made
            if not keep_going():
                return
            made += 1
            # Nobody turns runs here, so a request that waits for an end, or follows one, would take its full time.
            case.headers.pop("Prefer", None)
            case.headers["Accept"] = "application/json"
            if made % 4:
                steer(case, found.known)
            case.call_and_validate(base_url=found.url, headers=headers, checks=CHECKS, timeout=10)

        attempt()
    return made


def steer(case: Any, known: dict[str, str]) -> None:
    """Lead most requests to what exists, or they would all end at 404; only what would take it away is led elsewhere."""
    takes_away = case.method.upper() == "DELETE" or case.path.endswith(":rotate")
    for name in case.path_parameters or {}:
        if name in known and not takes_away:
            case.path_parameters[name] = known[name]
        elif name == "name" and case.method.upper() != "DELETE":
            case.path_parameters[name] = "ping" if "signals" in case.path else "a.txt" if "artifacts" in case.path else "demo"


def main() -> int:
    """Fuzz until the time is over."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--examples", type=int, default=200, help="requests per operation and round")
    options = parser.parse_args()
    until, made = time.monotonic() + options.minutes * 60, 0
    with tempfile.TemporaryDirectory() as home, target(Path(home)) as found:
        wait(found)
        while time.monotonic() < until:
            made += fuzz(found, examples=options.examples, keep_going=lambda: time.monotonic() < until)
    print(f"{made} requests, nothing found")
    return 0


def wait(found: Target) -> None:
    """Until the API is ready: the socket already listens, so the first request simply waits for it."""
    import httpx2

    httpx2.get(f"{found.url}/readyz", timeout=30).raise_for_status()


if __name__ == "__main__":
    sys.exit(main())
