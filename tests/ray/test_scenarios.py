"""The twelve agent scenarios against the platform on Ray; tests/api/test_scenarios.py plays the same ones without it."""

import asyncio
import contextlib
import os
import signal
from pathlib import Path

import httpx2
import pytest

from tests.ray.conftest import Platform
from tests.scenarios.all import SCENARIOS
from tests.scenarios.stage import MODELS, Props, Scenario, Stage, play
from tests.support.thread_loop import ThreadLoop

pytestmark = [pytest.mark.ray, pytest.mark.long, pytest.mark.timeout(240)]


def kill(platform: Platform) -> None:
    """Kill every AgentActor and every WorkflowActor at once, so that nobody is left to tell the next owner what was under way.

    Ray knows them, not the titles of their processes: those name the call an actor is at, when it has one.
    """
    found = [actor["pid"] for actor in platform.actors() if actor["class_name"] in {"AgentActor", "WorkflowActor"}]
    assert len(found) >= 2
    for pid in found:
        with contextlib.suppress(ProcessLookupError):  # it has gone with its actor meanwhile
            os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("provider", MODELS)
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_scenario(scenario: Scenario, provider: str, loop: ThreadLoop, around: Props, platform: Platform, tmp_path: Path) -> None:
    async def crash() -> None:
        await asyncio.to_thread(kill, platform)

    async def played() -> None:
        (other,) = around.wires.keys() - {provider}
        async with httpx2.AsyncClient(base_url=platform.urls.api, headers=platform.api.headers, timeout=60, trust_env=False) as api:
            wires = (around.wires[provider], around.wires[other])
            # A cluster on two cores that also runs its own dashboard gets more time; how much it took is printed.
            await play(scenario, Stage(api, *wires, around.mcp, tmp_path, crash, cancel_within=10.0))

    loop.run(played(), 200)
