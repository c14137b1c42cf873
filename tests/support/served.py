"""A platform of this process behind a real HTTP server."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2

from runtime.api.app import build_app
from runtime.api.keys import ADMIN, issue
from runtime.api.services import Services, over
from runtime.local import LocalPlatform
from tests.api.conftest import serving


@asynccontextmanager
async def served(platform: LocalPlatform) -> AsyncIterator[httpx2.AsyncClient]:
    """A client with a key that may do everything; deltas are those of the platform."""

    @asynccontextmanager
    async def opened() -> AsyncIterator[Services]:
        yield over(platform.store, platform.gateway, platform.settings, platform.deltas)

    app = build_app(opened, platform.settings)
    key, _ = await issue(platform.store.catalog, "default", name="tester", scopes=(ADMIN,), now=platform.gateway.clock.now())
    async with app.router.lifespan_context(app), serving(app, key.text) as client:
        yield client
