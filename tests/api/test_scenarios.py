"""The twelve agent scenarios against the platform without Ray: a process of its own with a real HTTP server, killed with SIGKILL where they say so."""

from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from runtime.settings import Settings
from tests.scenarios.all import SCENARIOS
from tests.scenarios.embedded import Embedded
from tests.scenarios.stage import MODELS, Props, Scenario, Stage, play, props
from tests.support.mcp_server import free_port
from tests.support.thread_loop import ThreadLoop, thread_loop

# The first one starts the processes, which takes a while where others want the processor too.
pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def loop() -> Iterator[ThreadLoop]:
    with thread_loop() as running:
        yield running


@pytest.fixture(scope="module")
def around(loop: ThreadLoop) -> Iterator[Props]:
    opened = props()
    yield loop.run(opened.__aenter__(), 160)
    loop.run(opened.__aexit__(None, None, None))


@pytest.fixture(scope="module")
def platform(loop: ThreadLoop, around: Props, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedded]:
    settings = Settings(
        home=tmp_path_factory.mktemp("platform"),
        api_port=free_port(),
        python_modules=["tests.scenarios.functions"],
        lease_ms=1000,
        drain_ms=100,
        **around.settings,
    )
    embedded = Embedded(settings)
    try:
        loop.run(embedded.start(), 160)
        yield embedded
    finally:
        embedded.kill()


@pytest.mark.parametrize("provider", MODELS)
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_scenario(scenario: Scenario, provider: str, loop: ThreadLoop, around: Props, platform: Embedded, tmp_path: Path) -> None:
    async def played() -> None:
        (other,) = around.wires.keys() - {provider}
        async with httpx2.AsyncClient(base_url=platform.url, headers={"Authorization": f"Bearer {platform.key}"}, timeout=60, trust_env=False) as api:
            wires = (around.wires[provider], around.wires[other])
            await play(scenario, Stage(api, *wires, around.mcp, tmp_path, platform.crash, cancel_within=1.0))

    loop.run(played(), 200)
