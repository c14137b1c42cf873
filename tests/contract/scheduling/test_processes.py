"""Real processes fire one schedule, and one of them is killed in the middle."""

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from collections import Counter
from pathlib import Path

from sqlalchemy import update

from runtime.clock import SystemClock
from runtime.settings import Settings
from runtime.store.fsck import fsck
from runtime.store.open import Store
from runtime.store.operations import Work
from runtime.store.tables import schedules
from tests.contract.scheduling.bureau import Bureau

BACKLOG = 400
_SCRIPT = Path(__file__).with_name("contender.py")
_ROOT = Path(__file__).parents[3]


async def contender(url: str, home: Path) -> Process:
    """A process that is ready and waits for a line."""
    environment = {"PYTHONPATH": str(_ROOT)}
    process = await asyncio.create_subprocess_exec(sys.executable, str(_SCRIPT), url, str(home), stdin=PIPE, stdout=PIPE, cwd=_ROOT, env=environment)
    while await process.stdout.readline() != b"ready\n":
        assert process.returncode is None
    return process


async def say(process: Process) -> None:
    process.stdin.write(b"go\n")
    await process.stdin.drain()


async def test_of_two_processes_one_is_killed_and_every_tick_has_one_run(store: Store, database_url: str, tmp_path: Path):
    bureau = Bureau(store, Settings(home=tmp_path), SystemClock())
    row = await bureau.put(interval="1s", overlap="allow_all", catchup="1h")
    first = row.next_tick - BACKLOG * 1000
    await store.writer.write(Work(lambda connection: connection.execute(update(schedules).values(next_tick=first, next_at=first)) and None))
    rivals = [await contender(database_url, tmp_path) for _ in range(2)]
    for rival in rivals:
        await say(rival)

    async def fired() -> int:
        return (await bureau.row()).last_tick or 0

    async with asyncio.timeout(50):
        while await fired() < first + BACKLOG * 300:
            continue
        rivals[0].kill()
        while await fired() < first + BACKLOG * 1000:
            continue
    await say(rivals[1])
    assert (await rivals[1].wait(), await rivals[0].wait()) == (0, -9)
    last = await fired()
    runs = [run.schedule_tick for run in await bureau.runs()]
    assert Counter(runs) == Counter(range(first, last + 1, 1000))
    ticks = await bureau.ticks()
    assert [(tick.tick, tick.outcome) for tick in ticks] == [(tick, "started") for tick in range(first, last + 1, 1000)]
    assert await fsck(store) == []
