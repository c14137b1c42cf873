"""The whole platform as one single process: API, host and steps, without Ray. A target that a tracer can follow and a kill can end at once.

`python -m tests.chaos.tools.single` takes its settings from the environment, listens on API_PORT, and says `ready`.
"""

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn

from runtime.api.app import build_app
from runtime.api.keys import ensure_local_key
from runtime.api.services import Services, over
from runtime.host import Host
from runtime.local import LocalPlatform
from runtime.logs import set_up_logs
from runtime.settings import Settings


class Server(uvicorn.Server):
    """Says when it listens."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        print("ready", flush=True)


async def end_with_host(host: Host) -> None:
    """A host that others have declared dead ends; in a cluster its process ends with it, and so does this one."""
    await host.wait_closed()
    os._exit(1)


async def end_with_parent() -> None:
    """A trial that was ended leaves no server behind."""
    parent = os.getppid()
    while os.getppid() == parent:
        await asyncio.sleep(1)
    os._exit(1)


async def main() -> None:
    settings = Settings()
    set_up_logs(settings)
    async with LocalPlatform(settings) as platform:
        await ensure_local_key(platform.store.catalog, settings.home)

        @asynccontextmanager
        async def services() -> AsyncIterator[Services]:
            yield over(platform.store, platform.gateway, settings)

        app = build_app(services, settings)
        config = uvicorn.Config(app, host=settings.api_host, port=settings.api_port, log_level="warning", timeout_graceful_shutdown=2, loop="asyncio")
        watches = [asyncio.create_task(end_with_host(platform.host)), asyncio.create_task(end_with_parent())]
        await Server(config).serve()
        for watch in watches:
            watch.cancel()


if __name__ == "__main__":
    asyncio.run(main())
