"""The scheduler in the local platform, with real clocks and real runs."""

import asyncio
import itertools
from pathlib import Path

from runtime.local import LocalPlatform
from runtime.settings import Settings
from runtime.store.fsck import fsck
from runtime.store.protocol import RunQuery
from runtime.store.schedules.protocol import TickRow

FLOW = "name: beat\nsteps:\n  only: {set: {x: 1}}\n"
SLOW = "name: slow\nsteps:\n  only: {wait: {for: 1500ms}}\n"


async def started(platform: LocalPlatform, name: str, count: int) -> list[TickRow]:
    """The ticks that were started, oldest first, once there are `count`."""
    async with asyncio.timeout(30):
        while True:
            rows = [row for row in await platform.schedules.ticks("default", name) if row.outcome == "started"]
            if len(rows) >= count:
                return sorted(rows, key=lambda row: row.tick)
            await asyncio.sleep(0.02)


async def test_a_schedule_of_one_second(tmp_path: Path):
    async with LocalPlatform(Settings(home=tmp_path, drain_ms=1000)) as platform:
        await platform.gateway.publish("default", FLOW)
        await platform.schedules.put("default", {"name": "pulse", "workflow": "beat", "interval": "1s", "overlap": "allow_all"})
        rows = await started(platform, "pulse", 4)
        assert [late.tick - early.tick for early, late in itertools.pairwise(rows)] == [1000] * (len(rows) - 1)
        # Never early; the promise is 5 s, which a busy machine needs less of.
        assert all(0 <= row.recorded_at - row.due_at < 5000 for row in rows)
        run = await platform.gateway.wait("default", rows[0].run_id, 10)
        assert run.status == "succeeded"
        assert await fsck(platform.store) == []
    assert rows[0].run_id


async def test_what_waits_starts_within_a_second_after_the_run_before_it(tmp_path: Path):
    async with LocalPlatform(Settings(home=tmp_path, drain_ms=1000)) as platform:
        await platform.gateway.publish("default", SLOW)
        await platform.schedules.put("default", {"name": "slow", "workflow": "slow", "interval": "1s", "overlap": "buffer_all"})
        await started(platform, "slow", 3)
        await platform.schedules.pause("default", "slow")
        runs = sorted(await platform.gateway.runs("default", RunQuery("default")), key=lambda run: run.schedule_tick or 0)
        pauses = [after.created_at - before.ended_at for before, after in itertools.pairwise(runs)]
        assert pauses
        assert all(0 <= pause < 2000 for pause in pauses), pauses
