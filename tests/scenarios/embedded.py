"""The platform without Ray in a process of its own, which a scenario may kill: `AGENTIC_CONFIG=settings.yaml python -m tests.scenarios.embedded`."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import uvicorn

from actors.environment import inherited, settings_file
from runtime.agents.loop import warm
from runtime.api.app import build_app
from runtime.api.keys import ensure_local_key
from runtime.api.services import Services, over
from runtime.local import LocalPlatform
from runtime.settings import Settings

ROOT = Path(__file__).parents[2]


@dataclass
class Embedded:
    """One platform on one port and one database, which may be started again and again."""

    settings: Settings
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.settings.api_port}"

    @property
    def key(self) -> str:
        """May do everything."""
        return (self.settings.home / "api-key").read_text().strip()

    async def start(self) -> None:
        """Start it, and wait until it is ready. Raises AssertionError, with its log, when it ends instead."""
        file, log = self.settings.home / "settings.yaml", self.settings.home / "log"
        settings_file(self.settings, file)
        environment = {**inherited(os.environ), "AGENTIC_CONFIG": str(file)}
        with log.open("ab") as output:
            self.process = subprocess.Popen([sys.executable, "-m", "tests.scenarios.embedded"], cwd=ROOT, env=environment, stdout=output, stderr=output)  # noqa: ASYNC220
        async with asyncio.timeout(150), httpx2.AsyncClient(base_url=self.url, trust_env=False) as client:
            while not await _ready(client):
                assert self.process.poll() is None, log.read_text()
                await asyncio.sleep(0.05)

    def kill(self) -> None:
        """End it at once."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    async def crash(self) -> None:
        """Kill it in the middle of whatever it does, and start it anew."""
        self.kill()
        await self.start()


async def _ready(client: httpx2.AsyncClient) -> bool:
    try:
        return (await client.get("/readyz")).status_code == 200
    except httpx2.TransportError:
        return False


async def serve(settings: Settings) -> None:
    """Carry runs out and answer over HTTP, until a signal comes."""

    @asynccontextmanager
    async def opened() -> AsyncIterator[Services]:
        yield over(platform.store, platform.gateway, settings, platform.deltas)

    await warm()
    async with LocalPlatform(settings) as platform:
        await ensure_local_key(platform.store.catalog, settings.home)
        config = uvicorn.Config(build_app(opened, settings), host=settings.api_host, port=settings.api_port, log_level="error")
        await uvicorn.Server(config).serve()


if __name__ == "__main__":
    asyncio.run(serve(Settings()))
