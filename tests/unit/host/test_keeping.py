"""From definition to disk: how long runs are kept, and that nothing of them is left in the end."""

import asyncio
from pathlib import Path

from runtime.clock import SystemClock
from runtime.gateway import StartRequest
from runtime.local import LocalPlatform
from runtime.retention import Janitor
from runtime.settings import Retention, Settings
from runtime.store.fsck import fsck
from runtime.store.protocol import RunQuery

DAY = 24 * 3_600_000
CHILD = """
name: child
retention: 3d
inputs: {size: {type: integer}}
steps: {big: {set: {text: "${{ inputs.size }} ${{ [1, 2, 3, 4, 5, 6, 7, 8].map(x, 'abcdefgh').join('') }}"}}}
"""
PARENT = """
name: parent
retention: 7d
inputs: {text: {type: string}}
steps:
  keep: {set: {text: "${{ inputs.text }}"}}
  sub: {workflow: {name: child, inputs: {size: 1}}, needs: [keep]}
"""


class Later(SystemClock):
    """Some days from now."""

    def __init__(self) -> None:
        self.days = 0.0

    def now(self) -> int:
        return super().now() + round(self.days * DAY)

    def monotonic(self) -> float:
        return super().monotonic() + self.days * 86_400


def files(home: Path) -> list[Path]:
    return [path for path in (home / "artifacts").rglob("*") if path.is_file()]


async def test_definitions_say_how_long_and_in_the_end_nothing_is_left(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, retention=Retention(succeeded=1))
    async with LocalPlatform(settings) as platform:
        gateway, clock = platform.gateway, Later()
        for document in (CHILD, PARENT):
            await gateway.publish("default", document)
        inputs = {"text": "x" * 100_000}
        run = (await gateway.start("default", StartRequest("parent", inputs))).run
        assert (await gateway.wait("default", run.run_id, 30)).status == "succeeded"
        fork = (await gateway.fork("default", run.run_id, from_step="sub")).run
        assert (await gateway.wait("default", fork.run_id, 30)).status == "succeeded"
        rows = await gateway.runs("default", RunQuery("default"))
        assert sorted((row.workflow, (row.keep_for or 0) // DAY) for row in rows) == [("child", 3), ("child", 3), ("parent", 7), ("parent", 7)]
        assert len(files(tmp_path)) == 1, "the inputs, and the same object as the output of a step"

        janitor = Janitor(platform.store.retention, gateway.artifacts, settings, clock, pause=0)
        clock.days = 2
        assert (await janitor.round()).runs == 0, "the definitions say more than the settings"
        clock.days = 3.1
        assert (await janitor.round()).runs == 2
        assert (await gateway.run("default", fork.run_id)).forked_from == run.run_id
        await platform.store.journal.remove(run.run_id)
        clock.days = 5
        await janitor.round()
        state = await gateway.state("default", fork.run_id)
        assert await gateway.shown(state.inputs) == inputs, "the fork keeps what it took over"
        clock.days = 7.1
        assert (await janitor.round()).runs == 1
        assert await gateway.runs("default", RunQuery("default")) == []
        clock.days = 10
        await janitor.round()
        assert files(tmp_path) == []
        assert await fsck(platform.store) == []


async def test_two_janitors_at_once(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, retention=Retention(succeeded=0))
    async with LocalPlatform(settings) as platform:
        await platform.gateway.publish("default", CHILD)
        started = [(await platform.gateway.start("default", StartRequest("child", {"size": n}))).run for n in range(20)]
        for run in started:
            await platform.gateway.wait("default", run.run_id, 30)
        clock = Later()
        clock.days = 4
        janitors = [Janitor(platform.store.retention, platform.gateway.artifacts, settings, clock, pause=0) for _ in range(2)]
        tallies = await asyncio.gather(*(janitor.round() for janitor in janitors))
        assert sum(tally.runs for tally in tallies) == len(started)
        assert await fsck(platform.store) == []
