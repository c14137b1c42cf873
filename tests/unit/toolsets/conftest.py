"""Toolsets as an agent step has them, over real servers on this machine."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from runtime.artifacts.local import LocalArtifacts
from runtime.settings import Settings
from runtime.steps.addresses import AllowList
from runtime.steps.agent import network
from runtime.toolsets.toolsets import SharedToolsets, StepToolsets
from tests.support.api_server import ApiServer, api_server

AROUND = {"outbound_allow": ["127.0.0.1"]}


@pytest.fixture
async def api() -> AsyncIterator[ApiServer]:
    async with api_server() as running:
        yield running


@pytest.fixture
async def open_toolsets(tmp_path: Path) -> AsyncIterator[Callable[..., StepToolsets]]:
    """A process's toolsets, for the step `step`."""
    opened: list[SharedToolsets] = []

    def open_(key: str = "step", **settings: Any) -> StepToolsets:
        made = Settings(home=tmp_path, **AROUND | settings)
        opened.append(SharedToolsets(made, LocalArtifacts(made.artifacts), lambda: network(AllowList.parse(made.outbound_allow))))
        return StepToolsets(opened[-1], key, "00-trace-parent-01")

    yield open_
    for toolsets in opened:
        await toolsets.close()


@pytest.fixture
def tools(open_toolsets: Callable[..., StepToolsets]) -> Callable[..., Any]:
    """The tools of entries, by name."""

    async def tools_(entries: list[dict[str, Any]], *, key: str = "step", toolsets: StepToolsets | None = None, **settings: Any) -> dict[str, Any]:
        found = toolsets or open_toolsets(key, **settings)
        return {offer["name"]: found.tool(offer) for offer in await found.load(await found.offers(entries))}

    return tools_
