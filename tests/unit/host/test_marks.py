"""A run that brings its hosts down is found by the marks they leave, and ended; whoever lived beside it goes on."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from runtime.host.host import MAX_DEATHS
from runtime.host.marks import WRITER, Marks
from runtime.local import new_owner
from tests.unit.host.world import Hands, a_world

RUN, OTHER = "018bcfe5-77af-7fba-83a3-db000e1867a6", "018bcfe5-77af-7fba-83a3-db000e1867a7"
DIE = """
import os, signal, sys
from pathlib import Path
from runtime.host.marks import WRITER, Marks
marks = Marks(Path(sys.argv[1]))
with marks.turning(sys.argv[3]):
    pass
with marks.turning(sys.argv[2], WRITER):
    os.kill(os.getpid(), signal.SIGKILL)
"""


def die_turning(path: Path, run_id: str, finished: str) -> None:
    """A process that is killed in the middle of a turn of one run, after it has finished one of another."""
    assert subprocess.run([sys.executable, "-c", DIE, str(path), run_id, finished], check=False).returncode == -signal.SIGKILL


def test_the_next_process_knows_what_the_last_one_was_turning(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "marks"
    assert Marks(path).suspects == []
    die_turning(path, RUN, OTHER)
    assert Marks(path).suspects == [RUN]
    assert Marks(path).suspects == [], "a suspicion is uttered once"
    assert os.stat(path.parent).st_mode & 0o077 == 0


def test_a_turn_that_raises_leaves_no_mark(tmp_path: Path) -> None:
    marks = Marks(tmp_path / "marks")
    try:
        with marks.turning(RUN), marks.turning(OTHER, WRITER):
            raise ValueError
    except ValueError:
        pass
    marks.close()
    assert not (tmp_path / "marks").exists(), "who leaves in good order leaves no file behind"
    assert Marks(tmp_path / "marks").suspects == []


def test_without_a_file_nothing_is_marked() -> None:
    marks = Marks(None)
    with marks.turning(RUN):
        assert marks.suspects == []
    marks.close()


async def test_a_run_its_hosts_die_of_is_ended_and_its_neighbours_go_on(tmp_path: Path) -> None:
    document = {"name": "flow", "steps": {"a": {"python": {"function": "m:f"}}}}
    async with a_world(tmp_path) as world:
        poison, neighbour = await world.submit(document), await world.submit(document)
        for _ in range(MAX_DEATHS - 1):
            die_turning(tmp_path / "marks", poison, neighbour)
            marks = Marks(tmp_path / "marks")
            assert marks.suspects == [poison]
            await world.store.journal.register(new_owner("dead"), suspects=marks.suspects)
        assert (await world.row(poison)).deaths == MAX_DEATHS - 1
        die_turning(tmp_path / "marks", poison, neighbour)
        await world.host(Hands(), marks=tmp_path / "marks")
        row = await world.end(poison)
        assert (row.status, (row.error or {})["code"]) == ("failed", "poison")
        assert (await world.end(neighbour)).status == "succeeded"


async def test_a_suspect_that_makes_progress_is_cleared(tmp_path: Path) -> None:
    document = {"name": "flow", "steps": {"a": {"python": {"function": "m:f"}}, "b": {"signal": {"name": "go"}, "needs": ["a"]}}}
    async with a_world(tmp_path) as world:
        run_id = await world.submit(document)
        await world.store.journal.register(new_owner("dead"), suspects=[run_id])
        await world.host(Hands())
        assert (await world.until(run_id, lambda row: row.status == "waiting")).deaths == 0
