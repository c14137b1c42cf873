"""A real store, a real gateway and the real application; only nobody turns the runs, so that tests decide what happens to them."""

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
import uvicorn
from fastapi import FastAPI

from runtime.api.app import build_app
from runtime.api.keys import ADMIN, issue
from runtime.api.services import Services, over
from runtime.artifacts.open import open_artifacts
from runtime.gateway import Gateway
from runtime.settings import Settings
from runtime.store.open import open_store
from tests.api.world import World


class Idle:
    """A runner that turns nothing and knows no run; it remembers what it was told."""

    def __init__(self) -> None:
        self.nudged: list[str] = []

    def nudge(self, run_ids: Sequence[str]) -> None:
        self.nudged.extend(run_ids)

    async def watch(self, run_id: str, after: int, timeout: float) -> None:
        return

    async def provider_limits(self, tenant: str) -> list[dict[str, Any]]:
        return []

    async def metrics(self) -> bytes:
        return b"active_runs 0\n"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path, cors_origins=["https://page.example"])


@pytest.fixture
async def world(settings: Settings) -> AsyncIterator[World]:
    """Everything under the API, and a key that may do everything."""
    store = await open_store(settings.database)
    try:
        gateway = Gateway(store.journal, store.catalog, open_artifacts(settings), Idle(), settings)
        key, _ = await issue(store.catalog, "default", name="tester", scopes=(ADMIN,), now=gateway.clock.now())
        yield World(gateway, store, key.text)
    finally:
        await store.close()


@pytest.fixture
async def app(world: World, settings: Settings) -> AsyncIterator[FastAPI]:
    @asynccontextmanager
    async def services() -> AsyncIterator[Services]:
        yield over(world.store, world.gateway, settings)

    built = build_app(services, settings)
    async with built.router.lifespan_context(built):
        yield built


@pytest.fixture
async def client(app: FastAPI, world: World) -> AsyncIterator[httpx2.AsyncClient]:
    """Speaks to the application in this process. For streams and sockets use `served`."""
    transport = httpx2.ASGITransport(app=app)
    headers = {"Authorization": f"Bearer {world.key}"}
    async with httpx2.AsyncClient(transport=transport, base_url="http://localhost", headers=headers) as opened:
        yield opened


class _Server(uvicorn.Server):
    """Says when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()


@asynccontextmanager
async def serving(app: FastAPI, key: str) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of a real server on a free port."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = _Server(uvicorn.Config(app, lifespan="off", log_level="error", timeout_graceful_shutdown=1))
    running = asyncio.create_task(server.serve(sockets=[listener]))
    await server.listening.wait()
    base = f"http://127.0.0.1:{listener.getsockname()[1]}"
    try:
        async with httpx2.AsyncClient(base_url=base, headers={"Authorization": f"Bearer {key}"}, timeout=60) as opened:
            yield opened
    finally:
        server.should_exit = True
        await running
        listener.close()


@pytest.fixture
async def served(app: FastAPI, world: World) -> AsyncIterator[httpx2.AsyncClient]:
    """The scripted world behind a real server."""
    async with serving(app, world.key) as opened:
        yield opened
