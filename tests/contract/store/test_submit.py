"""Submit: an acknowledged run is there, once, whoever asks how often."""

import asyncio
from dataclasses import replace

import pytest

from runtime.engine.events import Kind
from runtime.engine.states import RunStatus
from runtime.errors import IdempotencyMismatch, NotFound
from runtime.store.open import Store
from runtime.store.protocol import RunQuery, Submitted
from tests.contract.store.desk import TENANT, Desk, key, new_run


async def test_a_run_is_there_as_it_was_given(desk: Desk):
    source = await desk.submit()
    run = new_run(priority=3, labels={"team": "bees"}, parent_run="p", parent_step="s", forked_from=source, isolation="dedicated", mode="simulated", keep_for=7)
    assert await desk.journal.submit([run]) == [Submitted(run.row.run_id, created=True)]
    row = await desk.run(run.row.run_id)
    assert row.wake_at == row.created_at, "claimable at once"
    assert row == replace(run.row, wake_at=row.created_at)
    assert await desk.journal.events(run.row.run_id) == list(run.events)


async def test_a_later_start_is_kept(desk: Desk):
    run_id = await desk.submit(wake_at=1 << 45)
    assert (await desk.run(run_id)).wake_at == 1 << 45


async def test_many_runs_at_once(desk: Desk):
    many = [new_run() for _ in range(300)]
    submitted = await desk.journal.submit(many)
    assert [each.run_id for each in submitted] == [run.row.run_id for run in many]
    assert await desk.journal.active_runs() == 300


async def test_the_same_key_and_payload_lead_to_the_same_run(desk: Desk):
    first, second = new_run(key=key("k")), new_run(key=key("k"))
    await desk.journal.submit([first])
    assert await desk.journal.submit([second]) == [Submitted(first.row.run_id, created=False)]
    assert await desk.journal.run(second.row.run_id) is None


async def test_the_same_key_in_one_call_leads_to_one_run(desk: Desk):
    first, second = new_run(key=key("k")), new_run(key=key("k"))
    submitted = await desk.journal.submit([first, second])
    assert submitted == [Submitted(first.row.run_id, created=True), Submitted(first.row.run_id, created=False)]


async def test_another_payload_under_a_known_key_is_refused(desk: Desk):
    await desk.journal.submit([new_run(key=key("k", "f1"))])
    with pytest.raises(IdempotencyMismatch):
        await desk.journal.submit([new_run(key=key("k", "f2"))])


async def test_a_refused_submit_takes_back_all_of_its_keys_and_spares_its_neighbours(desk: Desk):
    await desk.journal.submit([new_run(key=key("taken", "f1"))])
    fresh, neighbour = new_run(key=key("fresh")), new_run()
    outcomes = await asyncio.gather(desk.journal.submit([fresh, new_run(key=key("taken", "f2"))]), desk.journal.submit([neighbour]), return_exceptions=True)
    assert isinstance(outcomes[0], IdempotencyMismatch)
    assert outcomes[1] == [Submitted(neighbour.row.run_id, created=True)]
    assert await desk.journal.run(fresh.row.run_id) is None
    again = new_run(key=key("fresh", "another payload"))
    assert await desk.journal.submit([again]) == [Submitted(again.row.run_id, created=True)]


async def test_keys_belong_to_their_tenant(desk: Desk):
    await desk.journal.submit([new_run(key=key("k"))])
    other = new_run(key=key("k", "f2"), tenant="other")
    assert await desk.journal.submit([other]) == [Submitted(other.row.run_id, created=True)]


async def test_an_expired_key_is_free_again(desk: Desk):
    old = new_run()
    await desk.journal.submit([replace(old, idempotency=key("k", "f1", expires_at=old.row.created_at))])
    fresh = new_run(key=key("k", "f2"))
    assert await desk.journal.submit([fresh]) == [Submitted(fresh.row.run_id, created=True)]


async def test_a_run_that_is_there_is_not_inserted_again(desk: Desk):
    run = new_run()
    await desk.journal.submit([run])
    assert await desk.journal.submit([run]) == [Submitted(run.row.run_id, created=False)]
    assert await desk.kinds(run.row.run_id) == [Kind.RUN_CREATED]


async def test_fifty_clients_with_one_key_from_two_processes_make_one_run(desk: Desk, second: Store):
    journals = [desk.journal, second.journal]
    outcomes = await asyncio.gather(*(journals[n % 2].submit([new_run(key=key("one"))]) for n in range(50)))
    assert len({submitted.run_id for (submitted,) in outcomes}) == 1
    assert sum(submitted.created for (submitted,) in outcomes) == 1
    assert await desk.journal.active_runs() == 1


async def test_two_processes_inserting_one_run_id_insert_it_once(desk: Desk, second: Store):
    same = [new_run() for _ in range(20)]
    outcomes = await asyncio.gather(*(journal.submit([run]) for run in same for journal in (desk.journal, second.journal)))
    assert [submitted.run_id for (submitted,) in outcomes[::2]] == [run.row.run_id for run in same]
    assert sum(submitted.created for (submitted,) in outcomes) == 20


async def test_text_postgres_cannot_hold_is_kept_or_replaced(desk: Desk):
    run = new_run(key=key("k\0\ud800"), labels={"a\0": "b\udc00"})
    body = {"workflow": "brief", "inputs": {"zero": "a\0b", "lone": "\ud800", "\0": ["\udfff"]}}
    run = replace(run, events=(replace(run.events[0], body=body),))
    await desk.journal.submit([run])
    (created,) = await desk.journal.events(run.row.run_id)
    assert created.body is not None
    assert created.body["inputs"]["zero"] == "a\0b"
    assert created.body["inputs"]["lone"] == "\ufffd"
    assert await desk.journal.submit([new_run(key=key("k\0\ud800"))]) == [Submitted(run.row.run_id, created=False)]
    assert len(await desk.journal.runs(RunQuery(TENANT, labels={"a\0": "b\udc00"}))) == 1


async def test_a_queued_run_shows_as_queued(desk: Desk):
    row = await desk.run(await desk.submit())
    assert (row.status, row.epoch, row.head, row.owner) == (RunStatus.QUEUED, 0, 1, None)


async def test_a_fork_of_a_run_that_is_gone_is_refused_and_gives_its_key_back(desk: Desk):
    with pytest.raises(NotFound):
        await desk.journal.submit([new_run(forked_from="gone", key=key("k"))])
    run = new_run(key=key("k"))
    assert await desk.journal.submit([run]) == [Submitted(run.row.run_id, created=True)]
