"""Group commit: what waits goes together, bounds hold, and one bad operation hurts nobody else."""

import asyncio

import pytest
from sqlalchemy import Connection, event, text

from runtime.errors import Conflict, Overloaded, StoreUnavailable
from runtime.store import writer as writer_module
from runtime.store.open import Store
from runtime.store.operations import Work
from runtime.store.protocol import AppendOutcome
from tests.contract.store.desk import Desk, new_run


class Commits:
    """Counts the transactions of a store."""

    def __init__(self, store: Store) -> None:
        self.count = 0
        event.listen(store.database.writer, "commit", self._add)

    def _add(self, _connection: Connection) -> None:
        self.count += 1


async def test_what_waits_is_committed_together(desk: Desk):
    hands = [await desk.hold() for _ in range(20)]
    commits = Commits(desk.store)
    outcomes = await asyncio.gather(*(hand.end() for hand in hands), *(desk.submit() for _ in range(100)), desk.journal.beat("host-1"))
    assert outcomes[:20] == [AppendOutcome.COMMITTED] * 20
    assert commits.count <= 3


async def test_a_batch_is_bounded_in_number_and_in_bytes(desk: Desk, monkeypatch: pytest.MonkeyPatch):
    commits = Commits(desk.store)
    monkeypatch.setattr(writer_module, "MAX_BATCH", 10)
    await asyncio.gather(*(desk.submit() for _ in range(40)))
    assert commits.count >= 4
    monkeypatch.setattr(writer_module, "MAX_BATCH", 1000)
    monkeypatch.setattr(writer_module, "MAX_BATCH_BYTES", 1)
    commits.count = 0
    await asyncio.gather(*(desk.submit() for _ in range(5)))
    assert commits.count == 5, "one operation always goes, however large"


async def test_a_full_queue_refuses_and_recovers(desk: Desk, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(writer_module, "MAX_QUEUE", 5)
    outcomes = await asyncio.gather(*(desk.submit() for _ in range(20)), return_exceptions=True)
    refused = [outcome for outcome in outcomes if isinstance(outcome, Overloaded)]
    assert len(refused) == 15
    assert refused[0].retry_after == 1
    assert await desk.journal.active_runs() == 5
    await desk.submit()


async def test_a_bad_operation_fails_alone(desk: Desk):
    def broken(connection: Connection) -> None:
        connection.execute(text("SELECT * FROM there_is_no_such_table"))

    def refused(_connection: Connection) -> None:
        raise Conflict("no")

    def surprising(_connection: Connection) -> None:
        raise ZeroDivisionError

    work = [desk.store.writer.write(Work(function)) for function in (broken, refused, surprising)]
    outcomes = await asyncio.gather(*work, desk.submit(), desk.submit(), return_exceptions=True)
    assert all(isinstance(outcome, Exception) for outcome in outcomes[:3])
    assert isinstance(outcomes[1], Conflict)
    assert isinstance(outcomes[2], ZeroDivisionError)
    assert await desk.journal.active_runs() == 2


async def test_a_caller_that_gives_up_changes_nothing_for_the_others(desk: Desk):
    run = new_run()
    impatient = asyncio.create_task(desk.journal.submit([run]))
    other = asyncio.create_task(desk.submit())
    await asyncio.sleep(0)
    impatient.cancel()
    await other
    with pytest.raises(asyncio.CancelledError):
        await impatient
    assert await desk.journal.run(run.row.run_id) is not None, "it was carried out all the same"


async def test_closing_carries_out_what_waits_and_refuses_what_comes_later(desk: Desk, second: Store):
    waiting = [asyncio.create_task(second.journal.submit([new_run()])) for _ in range(10)]
    await asyncio.sleep(0)
    await second.writer.close()
    assert [submitted.created for task in waiting for submitted in await task] == [True] * 10
    assert await desk.journal.active_runs() == 10
    with pytest.raises(StoreUnavailable):
        await second.journal.submit([new_run()])
