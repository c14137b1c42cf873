"""Ticks: never early, soon after they are due, once; late ones by the catch-up window; refused ones visible."""

import asyncio
from dataclasses import replace

import pytest
from sqlalchemy import delete, update

from runtime.errors import Overloaded, StoreUnavailable
from runtime.schedules.spec import parse_moment
from runtime.scheduling.scheduler import LOOK_SECONDS
from runtime.store.fsck import fsck
from runtime.store.operations import Work
from runtime.store.tables import schedule_ticks, schedules
from tests.contract.scheduling.bureau import HOUR, MINUTE, NOON, TENANT, Bureau, at


async def test_a_tick_starts_when_it_is_due_and_not_before(bureau: Bureau):
    await bureau.put(cron="*/5 * * * *", inputs={"size": 3}, tick_input="day", labels={"team": "blue"}, priority=7, mode="live")
    bureau.clock.move(5 * MINUTE - 1)
    assert await bureau.look() == pytest.approx(0.001)
    assert await bureau.runs() == []
    bureau.clock.move(1)
    await bureau.look()
    (run,) = await bureau.runs()
    assert (run.workflow, run.labels, run.priority, run.mode) == ("report", {"team": "blue"}, 7, "live")
    assert (run.schedule_id, run.schedule_tick) == ((await bureau.row()).schedule_id, NOON + 5 * MINUTE)
    (created,) = await bureau.store.journal.events(run.run_id)
    assert created.body["inputs"] == {"size": 3, "day": at(5)}
    assert created.body["schedule"] == {"schedule_id": run.schedule_id, "name": "daily", "tick": NOON + 5 * MINUTE}
    assert bureau.runner.nudged == [run.run_id]
    assert (await bureau.ticks())[0].run_id == run.run_id
    row = await bureau.row()
    assert (row.last_tick, row.next_tick) == (NOON + 5 * MINUTE, NOON + 10 * MINUTE)


async def test_with_nothing_to_do_it_sleeps_as_long_as_it_may(bureau: Bureau):
    assert await bureau.look() == LOOK_SECONDS
    await bureau.put(cron="0 0 1 1 *")
    assert await bureau.look() == LOOK_SECONDS


async def test_a_schedule_has_an_end(bureau: Bureau):
    await bureau.put(interval="1m", start_at=at(1), end_at=at(2), overlap="allow_all")
    await bureau.pass_time(5 * MINUTE)
    assert await bureau.outcomes() == ["+1 started", "+2 started"]
    row = await bureau.row()
    assert (row.next_tick, row.next_at) == (None, None)


async def test_jitter_delays_every_tick_by_its_own_share(bureau: Bureau):
    await bureau.put(cron="0 * * * *", jitter="30m", overlap="allow_all")
    await bureau.pass_time(4 * HOUR)
    found = await bureau.ticks()
    assert [row.tick for row in found] == [NOON + hour * HOUR for hour in (1, 2, 3)]
    delays = [row.due_at - row.tick for row in found]
    assert all(0 <= delay < 30 * MINUTE for delay in delays)
    assert len(set(delays)) == 3
    assert all(0 <= row.recorded_at - row.due_at < MINUTE for row in found)


async def test_the_day_of_25_hours(bureau: Bureau):
    bureau.clock.move(parse_moment("2026-10-25T00:00:00+02:00") - NOON)
    await bureau.put(cron=["30 2 * * *"], timezone="Europe/Berlin", overlap="allow_all")
    await bureau.pass_time(26 * HOUR, step=10 * MINUTE)
    assert [row.tick for row in await bureau.ticks()] == [parse_moment("2026-10-25T02:30:00+02:00")]


# --- late ------------------------------------------------------------------------------------------------------------


async def test_after_down_time_the_window_is_caught_up_and_the_rest_is_recorded(bureau: Bureau):
    await bureau.put(overlap="allow_all", catchup="3m")
    bureau.clock.move(10 * MINUTE)
    await bureau.look()
    assert await bureau.outcomes() == ["+1 missed late x6", "+7 started", "+8 started", "+9 started", "+10 started"]
    assert (await bureau.ticks())[0].last_tick == NOON + 6 * MINUTE


async def test_thousands_of_missed_ticks_are_one_row(bureau: Bureau):
    await bureau.put(interval="1s", catchup="0s")
    bureau.clock.move(HOUR + 500)
    await bureau.look()
    (row,) = await bureau.ticks()
    assert (row.outcome, row.count, row.tick, row.last_tick) == ("missed", 3600, NOON + 1000, NOON + HOUR)


async def test_by_default_ten_minutes_are_caught_up(bureau: Bureau):
    await bureau.put(overlap="allow_all")
    bureau.clock.move(12 * MINUTE)
    await bureau.look()
    assert (await bureau.outcomes())[:2] == ["+1 missed late", "+2 started"]


async def test_a_clock_set_back_repeats_nothing(bureau: Bureau):
    await bureau.put(overlap="allow_all")
    await bureau.pass_time(3 * MINUTE)
    bureau.clock.move(-2 * MINUTE)
    await bureau.look()
    await bureau.people.pause(TENANT, "daily")
    await bureau.people.resume(TENANT, "daily")
    await bureau.put(overlap="allow_all", cron="*/1 * * * *")
    await bureau.pass_time(3 * MINUTE)
    assert await bureau.outcomes() == ["+1 started", "+2 started", "+3 started", "+4 started"]


# --- refused ---------------------------------------------------------------------------------------------------------


async def test_a_workflow_that_is_gone_makes_ticks_fail_visibly(bureau: Bureau):
    await bureau.put()
    await bureau.gateway.delete_workflow(TENANT, "report")
    await bureau.pass_time(MINUTE)
    (row,) = await bureau.ticks()
    assert (row.outcome, row.reason, row.error["code"]) == ("failed", "refused", "not_found")
    await bureau.put()
    await bureau.pass_time(MINUTE)
    assert await bureau.outcomes() == ["+1 failed refused", "+2 started"]


async def test_inputs_that_no_longer_fit_make_ticks_fail_with_pointers(bureau: Bureau):
    await bureau.put(inputs={"size": 3})
    changed = {"name": "report", "inputs": {"size": {"type": "string"}}, "steps": {"a": {"set": {"x": 1}}}}
    await bureau.gateway.publish(TENANT, changed)
    await bureau.pass_time(MINUTE)
    assert (await bureau.ticks())[0].error["errors"][0]["pointer"] == "/inputs/size"


async def test_a_pinned_version_stays(bureau: Bureau):
    first = await bureau.gateway.publish(TENANT, {"name": "report", "steps": {"a": {"set": {"x": 1}}}})
    await bureau.put(version=first.definition, overlap="allow_all")
    await bureau.put("newest", overlap="allow_all")
    newest = await bureau.gateway.publish(TENANT, {"name": "report", "steps": {"a": {"set": {"x": 2}}}})
    await bureau.pass_time(MINUTE)
    assert {run.definition for run in await bureau.runs()} == {first.definition, newest.definition}


@pytest.mark.parametrize("refusal", [Overloaded("full", retry_after=30), StoreUnavailable("no room")])
async def test_for_want_of_room_a_tick_is_tried_again(bureau: Bureau, monkeypatch, refusal):
    await bureau.put(cron="*/30 * * * *")
    refused = []

    async def refuse(tenant, request):
        refused.append(request)
        raise refusal

    with monkeypatch.context() as patch:
        patch.setattr(bureau.gateway, "prepare", refuse)
        await bureau.pass_time(33 * MINUTE, step=30_000)
        assert len(refused) > 3
        assert (await bureau.ticks(), (await bureau.row()).error["code"]) == ([], refusal.code)
    await bureau.pass_time(MINUTE, step=30_000)
    assert await bureau.outcomes() == ["+30 started"]
    assert (await bureau.row()).error is None


async def test_when_there_is_no_room_for_the_whole_window_the_tick_fails(bureau: Bureau, monkeypatch):
    await bureau.put(cron="*/30 * * * *", catchup="2m")

    async def refuse(tenant, request):
        raise Overloaded("full")

    monkeypatch.setattr(bureau.gateway, "prepare", refuse)
    await bureau.pass_time(33 * MINUTE, step=5_000)
    (row,) = await bureau.ticks()
    assert (row.outcome, row.reason, row.error["code"]) == ("failed", "refused", "overloaded")
    assert NOON + 32 * MINUTE <= row.recorded_at <= NOON + 32 * MINUTE + 10_000


async def test_a_schedule_this_version_cannot_read_stops_no_other(bureau: Bureau):
    broken = await bureau.put("broken")
    await bureau.put(overlap="allow_all")

    def spoil(connection):
        connection.execute(update(schedules).where(schedules.c.schedule_id == broken.schedule_id).values(spec='{"workflow": "report", "cron": ["x"]}'))

    await bureau.store.writer.write(Work(spoil))
    await bureau.pass_time(2 * MINUTE)
    assert await bureau.outcomes() == ["+1 started", "+2 started"]
    assert (await bureau.row("broken")).error["code"] == "internal"


# --- exactly once ----------------------------------------------------------------------------------------------------


async def test_two_schedulers_race_for_many_ticks_and_each_tick_has_one_run(bureau: Bureau, rival: Bureau):
    await bureau.put(interval="1s", overlap="allow_all")
    await bureau.put("other", cron="*/2 * * * * *", overlap="allow_all")
    bureau.clock.move(60_000)
    await asyncio.gather(bureau.look(), rival.look())
    runs, row = await bureau.runs(), await bureau.row()
    assert sorted(run.schedule_tick for run in runs if run.schedule_id == row.schedule_id) == [NOON + 1000 * n for n in range(1, 61)]
    assert len(runs) == 90
    assert len({(run.schedule_id, run.schedule_tick) for run in runs}) == 90
    assert {row.outcome for row in await bureau.ticks()} == {"started"}
    assert await fsck(bureau.store) == []


async def test_both_share_the_work(bureau: Bureau, rival: Bureau):
    for number in range(20):
        await bureau.put(f"s{number}")
    bureau.clock.move(MINUTE)
    await asyncio.gather(bureau.scheduler.look(), rival.scheduler.look())
    await asyncio.gather(bureau.look(), rival.look())
    assert len(await bureau.runs()) == 20


async def test_a_firing_that_comes_late_changes_nothing(bureau: Bureau, rival: Bureau, monkeypatch):
    """A process prepares a tick, is paused there, and goes on after another one has fired it."""
    await bureau.put(overlap="allow_all")
    bureau.clock.move(MINUTE)
    held = []
    fire = rival.store.schedules.fire

    async def hold(firing):
        held.append(firing)

    monkeypatch.setattr(rival.store.schedules, "fire", hold)
    await rival.scheduler.look()
    await bureau.look()
    assert await fire(held[0]) is None
    assert len(await bureau.runs()) == 1


async def test_a_change_between_preparing_and_firing_wins(bureau: Bureau, monkeypatch):
    await bureau.put()
    bureau.clock.move(MINUTE)
    prepare = bureau.gateway.prepare

    async def slowly(tenant, request):
        run = await prepare(tenant, request)
        await bureau.people.pause(TENANT, "daily")
        return run

    monkeypatch.setattr(bureau.gateway, "prepare", slowly)
    await bureau.look()
    assert await bureau.runs() == []
    assert await bureau.outcomes() == ["+1 missed changed"]


async def test_without_its_record_a_run_still_stands_for_its_tick(bureau: Bureau):
    before = await bureau.put(overlap="allow_all")
    await bureau.pass_time(MINUTE)
    (run,) = await bureau.runs()

    def forget(connection):
        connection.execute(delete(schedule_ticks))
        back = {"next_tick": before.next_tick, "next_at": before.next_at, "last_tick": None}
        connection.execute(update(schedules).values(back))

    await bureau.store.writer.write(Work(forget))
    await bureau.look()
    assert [row.run_id for row in await bureau.runs()] == [run.run_id]
    assert [row.run_id for row in await bureau.ticks()] == [run.run_id]


async def test_the_unique_index_refuses_a_second_run_of_a_tick(bureau: Bureau):
    from runtime.errors import Conflict
    from tests.contract.store.desk import new_run

    first, again = (new_run(schedule_id="s", schedule_tick=5) for _ in range(2))
    await bureau.store.journal.submit([first])
    with pytest.raises(Conflict):
        await bureau.store.journal.submit([again])
    by_hand = [new_run(schedule_id="s"), new_run(schedule_id="s")]
    assert len(await bureau.store.journal.submit(by_hand)) == 2


async def test_a_firing_whose_commit_is_not_confirmed_is_not_repeated(bureau: Bureau, monkeypatch):
    """The answer to COMMIT is lost; the writer carries the batch out again, and the guard sees that it was on disk."""
    await bureau.put(overlap="allow_all")
    bureau.clock.move(MINUTE)
    sent = []
    fire = bureau.store.schedules.fire

    async def twice(firing):
        sent.append(await fire(firing))
        sent.append(await fire(replace(firing, run=None)))
        return sent[0]

    monkeypatch.setattr(bureau.store.schedules, "fire", twice)
    await bureau.look()
    assert (sent[0].tick.outcome, sent[1]) == ("started", None)
    assert len(await bureau.runs()) == 1


# --- fsck ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "spoiling",
    [
        update(schedule_ticks).values(run_id=None),
        update(schedule_ticks).values(tick=schedule_ticks.c.tick + 1),
        update(schedules).values(next_tick=schedules.c.last_tick),
        update(schedules).values(next_at=schedules.c.next_tick - 1),
    ],
)
async def test_fsck_names_ticks_that_may_start_twice(bureau: Bureau, spoiling):
    await bureau.put(overlap="allow_all")
    await bureau.pass_time(2 * MINUTE)
    assert await fsck(bureau.store) == []
    await bureau.store.writer.write(Work(lambda connection: connection.execute(spoiling) and None))
    findings = await fsck(bureau.store)
    assert findings
    assert all(finding.startswith("I14 ") for finding in findings)
