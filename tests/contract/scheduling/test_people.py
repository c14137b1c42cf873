"""What people do: put, pause, resume, trigger, backfill, delete."""

import asyncio

import pytest

from runtime.errors import Conflict, IdempotencyMismatch, LimitExceeded, NotFound, RequestInvalid, VersionChanged
from runtime.schedules.overlap import MAX_BUFFER, Overlap
from runtime.store.schedules.records import KEPT
from tests.contract.scheduling.bureau import HOUR, MINUTE, NOON, TENANT, Bureau


async def test_put_makes_and_changes(bureau: Bureau):
    made = await bureau.put()
    again = await bureau.put()
    assert (again.schedule_id, again.etag, again.created_at) == (made.schedule_id, made.etag, made.created_at)
    changed = await bureau.put(cron="0 * * * *")
    assert changed.etag != made.etag
    assert changed.next_tick == NOON + HOUR
    assert await bureau.row() == changed
    with pytest.raises(Conflict):
        await bureau.people.put(TENANT, {"name": "daily", "workflow": "report", "cron": "@daily"}, create=True)
    with pytest.raises(VersionChanged):
        await bureau.people.put(TENANT, {"workflow": "report", "cron": "@daily"}, name="daily", if_match=made.etag)
    with pytest.raises(VersionChanged):
        await bureau.people.put(TENANT, {"workflow": "report", "cron": "@daily"}, name="other", if_match=made.etag)


async def test_two_who_make_the_same_schedule_make_one(bureau: Bureau, rival: Bureau):
    await bureau.put("first")
    document = {"name": "daily", "workflow": "report", "cron": "@daily"}
    done = await asyncio.gather(*(each.people.put(TENANT, document, create=True) for each in (bureau, rival)), return_exceptions=True)
    assert sorted(type(each).__name__ for each in done) == ["Conflict", "ScheduleRow"]


async def test_everything_that_is_wrong_is_said_at_once(bureau: Bureau):
    await bureau.put()
    with pytest.raises(RequestInvalid) as caught:
        await bureau.people.put(TENANT, {"name": "b", "workflow": "report", "cron": "@daily", "inputs": {"sise": 1, "size": "x"}}, name="a")
    assert {problem.pointer for problem in caught.value.problems} == {"/name", "/inputs/sise", "/inputs/size"}
    with pytest.raises(RequestInvalid) as caught:
        await bureau.people.put(TENANT, {"workflow": "reprot", "cron": "@daily"})
    assert {problem.pointer: problem.detail for problem in caught.value.problems} == {
        "/workflow": "there is no workflow 'reprot'; did you mean 'report'?",
        "/name": "give the schedule a name",
    }
    with pytest.raises(RequestInvalid, match="1 problem"):
        await bureau.people.put(TENANT, {"workflow": "report", "version": "0" * 64, "cron": "@daily"}, name="a")
    with pytest.raises(RequestInvalid) as caught:
        await bureau.people.put(TENANT, {"workflow": "report", "cron": "@daily", "tick_input": "size"}, name="a")
    assert [problem.pointer for problem in caught.value.problems] == ["/tick_input"]


async def test_a_change_that_leaves_the_times_alone_loses_no_due_tick(bureau: Bureau):
    await bureau.put(overlap="allow_all")
    bureau.clock.move(2 * MINUTE)
    await bureau.put(overlap="allow_all", labels={"a": "b"})
    await bureau.look()
    assert await bureau.outcomes() == ["+1 started", "+2 started"]


async def test_due_ticks_that_a_change_of_times_passes_over_are_recorded(bureau: Bureau):
    await bureau.put()
    bureau.clock.move(2 * MINUTE)
    await bureau.put(cron="0 * * * *")
    await bureau.look()
    assert await bureau.outcomes() == ["+1 missed changed x2"]


async def test_a_paused_schedule_does_not_tick_and_goes_on_from_now(bureau: Bureau):
    await bureau.put(overlap="allow_all")
    await bureau.pass_time(MINUTE)
    paused = await bureau.people.pause(TENANT, "daily", "the source is down")
    assert (paused.paused, paused.note, paused.next_at) == (True, "the source is down", None)
    assert (await bureau.people.pause(TENANT, "daily")).note == "the source is down"
    await bureau.pass_time(5 * MINUTE)
    changed = await bureau.put(overlap="allow_all", priority=1)
    assert (changed.paused, changed.note) == (True, "the source is down")
    resumed = await bureau.people.resume(TENANT, "daily")
    assert (resumed.paused, resumed.note, resumed.next_tick) == (False, None, NOON + 7 * MINUTE)
    assert await bureau.people.resume(TENANT, "daily") == resumed
    await bureau.pass_time(MINUTE)
    assert await bureau.outcomes() == ["+1 started", "+7 started"]


async def test_a_schedule_may_be_made_paused_and_put_awake(bureau: Bureau):
    row = await bureau.put(paused=True, note="not yet")
    assert (row.paused, row.note, row.next_at) == (True, "not yet", None)
    await bureau.pass_time(2 * MINUTE)
    assert (await bureau.put(paused=False)).next_tick == NOON + 3 * MINUTE
    assert (await bureau.put(paused=True, note="again")).note == "again"
    assert await bureau.outcomes() == []


async def test_what_is_due_when_it_is_paused_is_recorded(bureau: Bureau):
    await bureau.put(overlap="allow_all")
    bureau.clock.move(3 * MINUTE)
    await bureau.people.pause(TENANT, "daily")
    await bureau.people.resume(TENANT, "daily")
    await bureau.pass_time(MINUTE)
    assert await bureau.outcomes() == ["+1 missed changed x3", "+4 started"]


async def test_ticks_that_wait_wait_through_the_pause(bureau: Bureau):
    await bureau.put(overlap="buffer_all")
    await bureau.pass_time(2 * MINUTE)
    await bureau.people.pause(TENANT, "daily")
    await bureau.end((await bureau.runs())[0].run_id)
    await bureau.look()
    assert await bureau.outcomes() == ["+1 started", "+2 buffered overlap"]
    await bureau.people.resume(TENANT, "daily")
    await bureau.look()
    assert await bureau.outcomes() == ["+1 started", "+2 started"]


async def test_trigger_starts_a_run_outside_the_ticks(bureau: Bureau):
    await bureau.put(tick_input="day")
    first = await bureau.people.trigger(TENANT, "daily", idempotency_key="k")
    bureau.clock.move(1)
    again = await bureau.people.trigger(TENANT, "daily", idempotency_key="k")
    assert (first.created, again.created, again.run.run_id) == (True, False, first.run.run_id)
    assert (first.run.schedule_id, first.run.schedule_tick) == ((await bureau.row()).schedule_id, None)
    await bureau.put("other")
    with pytest.raises(IdempotencyMismatch):
        await bureau.people.trigger(TENANT, "other", idempotency_key="k")
    assert await bureau.ticks() == []


async def test_backfill_starts_the_past_in_order_and_only_once(bureau: Bureau):
    await bureau.put(tick_input="day")
    await bureau.people.pause(TENANT, "daily")
    for _ in range(2):
        rows = await bureau.people.backfill(TENANT, "daily", NOON - 3 * MINUTE, NOON - MINUTE, Overlap.BUFFER_ALL)
        assert [(row.tick - NOON) // MINUTE for row in rows] == [-3, -2, -1]
        for _ in range(4):
            await bureau.look()
            for run in await bureau.runs():
                if not run.status.ended:
                    await bureau.end(run.run_id)
    assert await bureau.outcomes() == ["-3 started", "-2 started", "-1 started"]
    assert [run.schedule_tick for run in await bureau.runs()] == [NOON - 3 * MINUTE, NOON - 2 * MINUTE, NOON - MINUTE]


async def test_backfill_side_by_side_takes_up_what_was_missed_and_skipped(bureau: Bureau, rival: Bureau):
    await bureau.put(catchup="2m")
    bureau.clock.move(6 * MINUTE)
    await bureau.look()
    assert await bureau.outcomes() == ["+1 missed late x3", "+4 started", "+5 skipped overlap", "+6 skipped overlap"]
    await bureau.people.backfill(TENANT, "daily", NOON, NOON + 9 * MINUTE, Overlap.ALLOW_ALL)
    await asyncio.gather(bureau.look(), rival.look())
    started = [f"{minute:+d} started" for minute in range(7)]
    assert await bureau.outcomes() == [started[0], "+1 missed late x3", *started[1:]]
    assert len(await bureau.runs()) == 7


async def test_a_backfilled_tick_that_is_due_as_well_starts_once(bureau: Bureau):
    await bureau.put(overlap="allow_all")
    bureau.clock.move(MINUTE)
    await bureau.people.backfill(TENANT, "daily", NOON, NOON + MINUTE, Overlap.BUFFER_ALL)
    await bureau.look()
    assert [run.schedule_tick - NOON for run in await bureau.runs()] == [0, MINUTE][: len(await bureau.runs())]
    for _ in range(3):
        for run in await bureau.runs():
            if not run.status.ended:
                await bureau.end(run.run_id)
        await bureau.look()
    assert await bureau.outcomes() == ["+0 started", "+1 started"]
    assert len(await bureau.runs()) == 2


async def test_backfill_has_bounds(bureau: Bureau):
    await bureau.put(interval="1s")
    with pytest.raises(LimitExceeded, match="more than 1000"):
        await bureau.people.backfill(TENANT, "daily", NOON - HOUR, NOON, Overlap.BUFFER_ALL)
    await bureau.people.backfill(TENANT, "daily", NOON - 900_000, NOON - 1000, Overlap.BUFFER_ALL)
    with pytest.raises(LimitExceeded, match=str(MAX_BUFFER)):
        await bureau.people.backfill(TENANT, "daily", NOON - 1_800_000, NOON - 900_000, Overlap.BUFFER_ALL)
    for first, last in ((NOON, NOON - 1), (NOON + 1, NOON + 2)):
        with pytest.raises(RequestInvalid):
            await bureau.people.backfill(TENANT, "daily", first, last, Overlap.BUFFER_ALL)


async def test_delete_takes_the_record_along_and_leaves_the_runs(bureau: Bureau):
    row = await bureau.put(overlap="buffer_one")
    await bureau.pass_time(2 * MINUTE)
    with pytest.raises(VersionChanged):
        await bureau.people.delete(TENANT, "daily", if_match="0" * 64)
    await bureau.people.delete(TENANT, "daily", if_match=row.etag)
    assert await bureau.store.schedules.ticks(row.schedule_id) == []
    (run,) = await bureau.runs()
    await bureau.end(run.run_id)
    await bureau.pass_time(2 * MINUTE)
    assert len(await bureau.runs()) == 1
    for call in (bureau.people.delete, bureau.people.schedule, bureau.people.pause, bureau.people.resume, bureau.people.trigger):
        with pytest.raises(NotFound):
            await call(TENANT, "daily")
    assert (await bureau.put()).schedule_id != row.schedule_id


async def test_what_belongs_to_another_tenant_is_not_there(bureau: Bureau):
    await bureau.put()
    with pytest.raises(NotFound):
        await bureau.people.schedule("other", "daily")
    assert await bureau.people.schedules("other") == []
    with pytest.raises(NotFound):
        await bureau.people.schedule(TENANT, "\0")


async def test_lists_and_what_is_under_way(bureau: Bureau):
    for name in ("c", "a", "b"):
        await bureau.put(name, overlap="buffer_all")
    assert [row.name for row in await bureau.people.schedules(TENANT, limit=2)] == ["a", "b"]
    assert [row.name for row in await bureau.people.schedules(TENANT, after="b")] == ["c"]
    await bureau.pass_time(3 * MINUTE)
    standing = await bureau.people.standing(await bureau.row("a"))
    assert (len(standing.running), standing.waiting) == (1, 2)
    newest, *_ = await bureau.people.ticks(TENANT, "a", limit=1)
    older = await bureau.people.ticks(TENANT, "a", before=newest.id)
    assert [row.tick for row in older] == [NOON + 2 * MINUTE, NOON + MINUTE]


async def test_upcoming_is_what_then_happens(bureau: Bureau):
    await bureau.put(cron=["*/7 * * * *", "*/2 * * * *"], jitter="30s", overlap="allow_all")
    promised = await bureau.people.upcoming(TENANT, "daily", 5)
    await bureau.pass_time(9 * MINUTE)
    assert [(row.tick, row.due_at) for row in await bureau.ticks()][:5] == promised
    await bureau.people.pause(TENANT, "daily")
    assert (await bureau.people.upcoming(TENANT, "daily", 1))[0][0] == NOON + 10 * MINUTE


async def test_the_record_is_bounded_and_what_waits_is_kept(bureau: Bureau, monkeypatch):
    assert KEPT == 10_000
    from runtime.store.schedules import records

    monkeypatch.setattr(records, "_TRIM_EVERY", 1)
    monkeypatch.setattr(records, "_TRIM", records.trim(3))
    await bureau.put(overlap="buffer_one")
    await bureau.pass_time(10 * MINUTE)
    assert await bureau.outcomes() == ["+2 buffered overlap", "+8 skipped buffer_full", "+9 skipped buffer_full", "+10 skipped buffer_full"]
