"""Small rounds of the trials without Ray, so that tools and promises are tried on every change."""

from pathlib import Path

import pytest

from tests.chaos.alone import clients, disks
from tests.chaos.alone.trials import Run
from tests.chaos.tools import strace
from tests.chaos.tools.trace import SYSCALLS, judge

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
traced = pytest.mark.skipif(not strace.available(), reason="STRACE IS MISSING OR MAY NOT TRACE: write positions and the order of syncs are not tried here")


async def passes(run: Run, folder: Path, database: str, count: int) -> None:
    verdict = await run(folder, database, count)
    assert verdict.violations == []
    assert verdict.passed, verdict


@traced
async def test_nothing_is_acknowledged_before_it_is_on_disk(tmp_path: Path):
    await passes(disks.power, tmp_path, "sqlite", 20)


@traced
async def test_the_recording_shows_an_early_acknowledgement(tmp_path: Path):
    """The same server without its syncs: if nothing were found then, nothing could be."""
    verdict = None
    recording = tmp_path / "recording"
    async with disks.stage(tmp_path, "sqlite", environment={"AGENTIC_DURABILITY": "relaxed"}, prefix=strace.recorded(recording, SYSCALLS)) as at:
        await at.client.call("PUT", "/v1/workflows/sum", json=disks.SUM, wanted=(200, 201))
        for n in range(5):
            await at.client.start(n)
    with recording.open(errors="replace") as lines:
        verdict = judge(lines, "workflows.db-wal")
    assert (verdict.acknowledgements, len(verdict.violations)) == (5, 5)


@traced
async def test_no_space_at_the_first_write(tmp_path: Path):
    await passes(disks.no_space_at, tmp_path, "sqlite", 1)


async def test_one_key_and_dying_replicas(tmp_path: Path):
    await passes(clients.duplicates, tmp_path, "sqlite", 3)
