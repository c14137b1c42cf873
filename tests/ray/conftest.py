"""One platform for all Ray tests: started once, on its own ports and in its own folder, and stopped at the end."""

import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest

from actors.cluster import processes
from actors.lifecycle import Urls, platform_files, start_platform, stop_platform
from runtime.settings import Settings
from tests.scenarios.stage import Props, props
from tests.support.openai_server import OpenAIServer, Output, Received, openai_server
from tests.support.thread_loop import ThreadLoop, thread_loop


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The first of these tests starts the cluster, which counts against its time."""
    for item in items:
        if "/tests/ray/" in item.path.as_posix() and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(180))


@dataclass
class Platform:
    """The running platform as a client sees it, and its processes."""

    settings: Settings
    urls: Urls
    api: httpx2.Client
    dashboard: httpx2.Client

    def start(self, definition: dict[str, Any], inputs: dict[str, Any] | None = None) -> str:
        """Publish the definition and start a run of it."""
        name = definition["name"]
        published = self.api.post("/v1/workflows", json=definition)
        assert published.status_code < 300, published.text
        started = self.api.post(f"/v1/workflows/{name}/runs", json={"inputs": inputs or {}})
        assert started.status_code == 202, started.text
        return started.json()["run_id"]

    def run(self, run_id: str) -> dict[str, Any]:
        return self.api.get(f"/v1/runs/{run_id}").json()

    def ended(self, run_id: str, seconds: float = 30) -> dict[str, Any]:
        """The run once it has ended."""
        return until(lambda: (run := self.run(run_id))["status"] in {"succeeded", "failed", "canceled"} and run, seconds)

    def events(self, run_id: str) -> list[dict[str, Any]]:
        return self.api.get(f"/v1/runs/{run_id}/events", params={"page_size": 1000}).json()["events"]

    def processes(self, title: str) -> list[psutil.Process]:
        """Living processes whose title begins like this, such as `ray::WorkflowActor`."""
        return [process for process in processes(platform_files(self.settings)) if title_of(process).startswith(title)]

    def actors(self) -> list[dict[str, Any]]:
        """What Ray's state API says of actors that live."""
        found = self.dashboard.get("/api/v0/actors", params={"detail": "true", "limit": 1000}).json()
        return [actor for actor in found["data"]["result"]["result"] if actor["state"] == "ALIVE"]


def title_of(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def until(found: Callable[[], Any], seconds: float = 30) -> Any:
    """What `found` returns once it is true. Fails after `seconds`."""
    deadline = time.monotonic() + seconds
    while not (value := found()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
    return value


def lines(file: Path) -> list[str]:
    """One line for each execution of a step."""
    return file.read_text().splitlines() if file.exists() else []


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def answer(request: Received) -> Output:
    """What the model of these tests says: something for each field it is asked for."""
    fields = request.body["tools"][0]["function"]["parameters"]["properties"]
    said = {"score": 0.5, "key_points": ["a point"], "findings": ["one", "two", "three"]}
    return Output({name: said.get(name, f"a {name}") for name in fields})


@pytest.fixture(scope="session")
def loop() -> Iterator[ThreadLoop]:
    """The event loop of all servers of the session."""
    with thread_loop() as running:
        yield running


@pytest.fixture(scope="session")
def model(loop: ThreadLoop) -> Iterator[OpenAIServer]:
    """A model over HTTP that takes a while for each answer, so that there is time to kill who waits for it."""
    opened = openai_server()
    server = loop.run(opened.__aenter__())
    server.latency, server.default = 1.0, answer
    yield server
    loop.run(opened.__aexit__(None, None, None))


@pytest.fixture(scope="session")
def around(loop: ThreadLoop) -> Iterator[Props]:
    """The servers of the agent scenarios."""
    opened = props()
    yield loop.run(opened.__aenter__(), 160)
    loop.run(opened.__aexit__(None, None, None))


@pytest.fixture(scope="session")
def platform(tmp_path_factory: pytest.TempPathFactory, model: OpenAIServer, around: Props) -> Iterator[Platform]:
    settings = Settings(
        home=tmp_path_factory.mktemp("platform"),
        api_port=free_port(),
        python_modules=["tests.ray.functions", "tests.scenarios.functions", "examples"],
        openai_base_url=model.url,
        openai_api_key="test",
        lease_ms=3000,
        drain_ms=3000,
        **around.settings,
    )
    urls = start_platform(settings, cores=2)
    key = (settings.home / "api-key").read_text().strip()
    token = (settings.home / "ray-token").read_text().strip()
    files = platform_files(settings)
    with (
        httpx2.Client(base_url=urls.api, headers={"Authorization": f"Bearer {key}"}, timeout=30) as api,
        httpx2.Client(base_url=urls.dashboard, headers={"Authorization": f"Bearer {token}"}, timeout=30) as dashboard,
    ):
        yield Platform(settings, urls, api, dashboard)
    stop_platform(settings)
    left = processes(files)
    assert not left, left
