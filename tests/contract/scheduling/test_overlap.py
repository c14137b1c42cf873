"""A tick comes while a run of its schedule has not ended."""

from runtime.engine.states import RunStatus
from runtime.scheduling.scheduler import LOOK_SECONDS, WAITING_SECONDS
from runtime.store.protocol import AppendOutcome, MessageKind
from tests.contract.scheduling.bureau import MINUTE, NOON, TENANT, Bureau, at


async def test_skip(bureau: Bureau):
    await bureau.put(overlap="skip")
    await bureau.pass_time(2 * MINUTE)
    (run,) = await bureau.runs()
    await bureau.end(run.run_id)
    await bureau.pass_time(MINUTE)
    assert await bureau.outcomes() == ["+1 started", "+2 skipped overlap", "+3 started"]


async def test_buffer_one(bureau: Bureau):
    await bureau.put(overlap="buffer_one")
    await bureau.pass_time(3 * MINUTE)
    assert await bureau.outcomes() == ["+1 started", "+2 buffered overlap", "+3 skipped buffer_full"]
    (run,) = await bureau.runs()
    assert await bureau.look() == WAITING_SECONDS
    await bureau.end(run.run_id)
    assert await bureau.look() == LOOK_SECONDS
    assert await bureau.outcomes() == ["+1 started", "+2 started", "+3 skipped buffer_full"]
    assert [run.schedule_tick for run in await bureau.runs()] == [NOON + MINUTE, NOON + 2 * MINUTE]


async def test_buffer_all_starts_them_one_after_the_other(bureau: Bureau, rival: Bureau):
    await bureau.put(overlap="buffer_all", tick_input="day")
    await bureau.pass_time(3 * MINUTE)
    await bureau.people.pause(TENANT, "daily")
    await bureau.people.resume(TENANT, "daily")
    for expected in (1, 2, 3):
        runs = await bureau.runs()
        assert len(runs) == expected
        await bureau.end(runs[-1].run_id)
        await bureau.look()
        await rival.look()
    assert await bureau.outcomes() == ["+1 started", "+2 started", "+3 started"]
    created = await bureau.store.journal.events((await bureau.runs())[-1].run_id)
    assert created[0].body["inputs"]["day"] == at(3)


async def test_the_buffer_of_all_has_a_bound(bureau: Bureau, monkeypatch):
    monkeypatch.setattr("runtime.schedules.overlap.MAX_BUFFER", 2)
    await bureau.put(overlap="buffer_all")
    await bureau.pass_time(4 * MINUTE)
    assert await bureau.outcomes() == ["+1 started", "+2 buffered overlap", "+3 buffered overlap", "+4 skipped buffer_full"]


async def test_cancel_other_ends_a_queued_run_at_once_and_starts(bureau: Bureau):
    await bureau.put(overlap="cancel_other")
    await bureau.pass_time(2 * MINUTE)
    assert [run.status for run in await bureau.runs()] == [RunStatus.CANCELED, RunStatus.QUEUED]
    assert await bureau.outcomes() == ["+1 started", "+2 started"]


async def test_cancel_other_waits_for_a_running_one_to_end(bureau: Bureau):
    await bureau.put(overlap="cancel_other")
    await bureau.pass_time(MINUTE)
    (run,) = await bureau.runs()
    hand = await bureau.own(run.run_id)
    await bureau.pass_time(2 * MINUTE)
    assert await bureau.outcomes() == ["+1 started", "+2 skipped superseded", "+3 buffered overlap"]
    (message,) = await bureau.store.journal.inbox("host-1")
    assert (message.kind, message.body["by"]) == (MessageKind.CANCEL, "schedule daily")
    assert await hand.end() is AppendOutcome.CANCEL_FIRST
    await bureau.cancel(hand)
    await bureau.look()
    assert await bureau.outcomes() == ["+1 started", "+2 skipped superseded", "+3 started"]
    assert [run.status for run in await bureau.runs()] == [RunStatus.CANCELED, RunStatus.QUEUED]


async def test_allow_all(bureau: Bureau):
    await bureau.put(overlap="allow_all")
    await bureau.pass_time(3 * MINUTE)
    assert await bureau.outcomes() == ["+1 started", "+2 started", "+3 started"]


async def test_runs_of_other_schedules_and_by_hand_do_not_count_and_triggered_ones_do(bureau: Bureau):
    await bureau.put(overlap="skip")
    await bureau.put("other", cron="0 0 1 1 *")
    await bureau.people.trigger(TENANT, "other")
    await bureau.pass_time(MINUTE)
    assert await bureau.outcomes() == ["+1 started"]
    await bureau.end((await bureau.runs())[-1].run_id)  # the one with a tick
    await bureau.people.trigger(TENANT, "daily")
    await bureau.pass_time(MINUTE)
    assert await bureau.outcomes() == ["+1 started", "+2 skipped overlap"]


async def test_a_tick_that_waits_and_can_no_longer_start_fails(bureau: Bureau):
    await bureau.put(overlap="buffer_one")
    await bureau.pass_time(2 * MINUTE)
    (run,) = await bureau.runs()
    await bureau.gateway.delete_workflow(TENANT, "report")
    await bureau.end(run.run_id)
    await bureau.look()
    assert await bureau.outcomes() == ["+1 started", "+2 failed refused"]
