"""The examples of docs/limits.md and docs/cache.md, run as they stand there."""

import re
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from runtime.agents.loop import warm
from runtime.engine.events import Kind
from runtime.gateway import StartRequest
from runtime.local import LocalPlatform
from runtime.settings import Settings
from tests.support.openai_server import OpenAIServer, openai_server

DOCS = Path(__file__).parents[2] / "docs"


def blocks(name: str) -> list[str]:
    return re.findall(r"```yaml\n(.*?)```", (DOCS / name).read_text(), re.DOTALL)


@pytest.fixture
async def server() -> AsyncIterator[OpenAIServer]:
    await warm()
    async with openai_server() as running:
        yield running


async def carry_out(server: OpenAIServer, home: Path, source: str, inputs: Any = None, **settings: Any) -> tuple[Any, list[Any]]:
    wanted = Settings(home=home, run_mode="live", drain_ms=100, openai_base_url=server.url, openai_api_key="k", **settings)
    async with LocalPlatform(wanted) as platform:
        published = await platform.gateway.publish("default", source)
        run = (await platform.gateway.start("default", StartRequest(published.workflow, inputs or {}))).run
        row = await platform.gateway.wait("default", run.run_id, 50)
        assert row.status == "succeeded", row.error
        return row.result, await platform.store.journal.events(run.run_id)


async def test_a_map_keeps_the_limit_of_the_settings(server: OpenAIServer, tmp_path: Path) -> None:
    settings, workflow = blocks("limits.md")
    began = time.monotonic()
    result, _ = await carry_out(server, tmp_path, workflow, {"pages": [str(page) for page in range(100)]}, **yaml.safe_load(settings))
    assert result == {"count": 100}
    assert time.monotonic() - began > 100 / 50 * 0.85


async def test_the_same_text_is_classified_once(server: OpenAIServer, tmp_path: Path) -> None:
    (workflow,) = blocks("cache.md")
    result, events = await carry_out(server, tmp_path, workflow)
    assert result["kinds"] == ["an answer"] * 3
    calls = [event.body for event in events if event.kind is Kind.CALL_FINISHED]
    assert [body.get("cached", False) for body in calls] == [False, False, True]
    assert server.calls == 2
    assert (await carry_out(server, tmp_path, workflow))[0] == result
    assert server.calls == 2, "another run of the workflow is given them too"
