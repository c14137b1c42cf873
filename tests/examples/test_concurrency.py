"""The example of docs/concurrency.md, and a crowd: seen by the functions themselves, never more at once than the limit says."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from runtime.gateway import StartRequest
from runtime.local import LocalPlatform
from runtime.settings import Settings
from runtime.store.fsck import fsck
from tests.examples import counting

TEXT = (Path(__file__).parents[2] / "docs" / "concurrency.md").read_text()
(EXAMPLE,) = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)


@pytest.fixture
async def platform(tmp_path: Path) -> AsyncIterator[LocalPlatform]:
    counting.current.clear()
    counting.most.clear()
    async with LocalPlatform(Settings(home=tmp_path, drain_ms=1000, run_mode="live", python_modules=["tests.examples"])) as opened:
        yield opened


async def run_all(platform: LocalPlatform, name: str, customers: list[str]) -> None:
    started = await platform.gateway.start_batch("default", [StartRequest(name, {"customer": customer}) for customer in customers])
    rows = await asyncio.gather(*(platform.gateway.wait("default", one.run.run_id, 50) for one in started))
    assert {row.status.value for row in rows} == {"succeeded"}
    assert await fsck(platform.store) == []


async def test_the_example_keeps_each_customer_to_one_run(platform: LocalPlatform):
    await platform.gateway.publish("default", EXAMPLE)
    await run_all(platform, "sync-customer", [f"c{n % 4}" for n in range(24)])
    assert counting.most == {counting.ALL: 4, "c0": 1, "c1": 1, "c2": 1, "c3": 1}


async def test_a_hundred_runs_with_a_limit_of_five(platform: LocalPlatform):
    document = EXAMPLE.replace("limit: 20", "limit: 5").replace("per_key: 1", "per_key: 5")
    await platform.gateway.publish("default", document)
    await run_all(platform, "sync-customer", [f"c{n % 3}" for n in range(100)])
    assert counting.most[counting.ALL] == 5
