"""Several real processes on one database: take-overs in anger, and fair turns on SQLite."""

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from collections import Counter
from pathlib import Path

import pytest
from sqlalchemy import select

from runtime.engine.states import RunStatus
from runtime.store.fsck import fsck
from runtime.store.open import Store, open_store
from runtime.store.protocol import RunQuery
from runtime.store.tables import inbox
from tests.contract.store.desk import TENANT, Desk, new_run

_SCRIPT = Path(__file__).with_name("contender.py")
_ROOT = Path(__file__).parents[3]


async def contender(*arguments: str) -> Process:
    """A process that is ready and waits for `go`."""
    return await asyncio.create_subprocess_exec(sys.executable, str(_SCRIPT), *arguments, stdin=PIPE, stdout=PIPE, cwd=_ROOT, env={"PYTHONPATH": str(_ROOT)})


async def ready(process: Process) -> None:
    assert process.stdout is not None
    assert await process.stdout.readline() == b"ready\n"


def go(process: Process) -> None:
    assert process.stdin is not None
    process.stdin.write(b"go\n")


async def test_two_processes_fight_for_runs_and_one_is_killed(desk: Desk, database_url: str):
    runs = [new_run() for _ in range(300)]
    await desk.journal.submit(runs)
    rivals = await asyncio.gather(contender(database_url, "fight", "a", "b"), contender(database_url, "fight", "b", "a"))
    await asyncio.gather(*map(ready, rivals))
    for rival in rivals:
        go(rival)
    while await desk.journal.active_runs() > 200:
        continue
    rivals[0].kill()
    out, _ = await rivals[1].communicate()
    await rivals[0].wait()
    assert (out, rivals[1].returncode) == (b"done\n", 0)
    assert await fsck(desk.store) == []
    ended = await desk.journal.runs(RunQuery(TENANT, status=("succeeded",), limit=1000))
    assert {row.run_id for row in ended} == {run.row.run_id for run in runs}
    assert all(row.status is RunStatus.SUCCEEDED for row in ended)


@pytest.mark.parametrize("writers", [8])
async def test_many_writing_processes_share_one_sqlite_file_fairly(tmp_path: Path, writers: int):
    url, each = f"sqlite:///{tmp_path}/shared.db", 60
    store = await open_store(url)
    run_id = await Desk(store).submit()
    processes = await asyncio.gather(*(contender(url, "write", run_id, f"w{n}", str(each)) for n in range(writers)))
    await asyncio.gather(*map(ready, processes))
    for process in processes:
        go(process)
    assert [await process.wait() for process in processes] == [0] * writers
    senders = await _order_of_arrival(store)
    await store.close()
    assert Counter(senders) == {f"w{n}": each for n in range(writers)}
    # While all of them were writing, none was starved: no wall clock, only the order in which the database took their messages.
    first = {name: senders.index(name) for name in set(senders)}
    last = {name: len(senders) - 1 - senders[::-1].index(name) for name in set(senders)}
    together = Counter(senders[max(first.values()) : min(last.values()) + 1])
    assert sum(together.values()) > len(senders) / 4, "they hardly overlapped: the test says nothing"
    assert min(together.values()) * 4 > max(together.values())


async def _order_of_arrival(store: Store) -> list[str]:
    found = await store.reader.read(lambda connection: list(connection.scalars(select(inbox.c.message_id).order_by(inbox.c.id))))
    return [message_id.partition(":")[0] for message_id in found]
