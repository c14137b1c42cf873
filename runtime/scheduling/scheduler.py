"""The loop that fires schedules. Any number may run at once, in any process: the database lets exactly one of them start a tick.

A look reads what is due, prepares the runs as the gateway prepares them, and hands each to the store, which decides and starts it in one
transaction. Whatever dies between two looks, the next look of anybody finds the same rows.
"""

import asyncio
from collections.abc import Awaitable
from contextlib import suppress
from typing import Any

import structlog

from runtime.clock import Clock
from runtime.errors import AgenticError, Overloaded, StoreUnavailable
from runtime.gateway import Gateway
from runtime.schedules.spec import ScheduleSpec, load_spec
from runtime.schedules.ticks import due_at, next_tick, planned
from runtime.scheduling.starting import error_body, start_request
from runtime.store.protocol import NewRun
from runtime.store.schedules.protocol import Fired, Firing, Gap, ScheduleRow, Schedules, Step, TickRow

log = structlog.get_logger(__name__)

LOOK_SECONDS = 1.0
"""The longest sleep: how soon a schedule made elsewhere is noticed."""
WAITING_SECONDS = 0.5
"""The longest sleep while ticks wait for runs to end."""
AGAIN_SECONDS = 0.2
"""When something was due and somebody else had it."""
AT_ONCE = 200
"""Schedules and ticks of one look; what is left over comes in the next one, at once."""
IN_FLIGHT = 32
MISSED_AT_ONCE = 500
"""Missed ticks one transaction passes over: counting them must not hold the event loop up."""
RETRY_MS = 5_000
"""When a tick that was refused for want of room is tried again, unless the refusal says when."""
DEFECT_MS = 60_000


class Scheduler:
    """`start` it where it may run; `look` alone is one round, for tests."""

    def __init__(self, gateway: Gateway, schedules: Schedules, clock: Clock) -> None:
        self._gateway = gateway
        self._schedules = schedules
        self._clock = clock
        self._room = asyncio.Semaphore(IN_FLIGHT)
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin; needs the running loop."""
        self._task = asyncio.create_task(self._run(), name="scheduler")

    async def stop(self) -> None:
        """Finish the look that is under way, then end."""
        self._stopping.set()
        if self._task is not None:
            await self._task

    async def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                seconds = await self.look()
            except StoreUnavailable as failure:
                log.warning("store_unavailable", loop="scheduler", error=str(failure))
                seconds = LOOK_SECONDS
            except Exception:  # a defect must not end the loop: other schedules go on, and the next look tries again
                log.exception("scheduler_failed")
                seconds = LOOK_SECONDS
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), seconds)

    async def look(self) -> float:
        """Deal with everything that is due. Returns the seconds until the next look makes sense. Raises StoreUnavailable."""
        now = self._clock.now()
        agenda = await self._schedules.agenda(now, AT_ONCE)
        work = [self._attend(row, now) for row in agenda.due] + [self._release(row, tick) for row, tick in agenda.ready]
        moved = await asyncio.gather(*map(self._bounded, work))
        if any(moved):
            return 0.0
        if work:
            return AGAIN_SECONDS
        longest = WAITING_SECONDS if agenda.waiting else LOOK_SECONDS
        return longest if agenda.next_at is None else min(longest, max(0, agenda.next_at - self._clock.now()) / 1000)

    async def _bounded(self, work: Awaitable[bool]) -> bool:
        async with self._room:
            return await work

    # --- ticks that are due ------------------------------------------------------------------------------------------

    async def _attend(self, row: ScheduleRow, now: int) -> bool:
        """One due tick, or a stretch of missed ones. Whether the schedule has moved."""
        tick = row.next_tick
        if tick is None:
            return False
        try:
            spec = load_spec(row.spec)
            following, following_at = planned(spec.timing, row.schedule_id, tick)
            due = due_at(spec.timing, row.schedule_id, tick, following)
            if now - due > spec.catchup:
                return await self._late(row, spec, tick, due, now)
            step = Step(row.schedule_id, row.etag, tick, following, following_at, now)
            return await self._fire(row, spec, step, due)
        except StoreUnavailable:
            raise
        except Exception as defect:
            log.exception("schedule_failed", schedule=row.name)
            return await self._postpone(row, tick, now + DEFECT_MS, {"code": "internal", "message": type(defect).__name__})

    async def _fire(self, row: ScheduleRow, spec: ScheduleSpec, step: Step, due: int) -> bool:
        run, error = None, None
        try:
            run = await self._gateway.prepare(row.tenant, start_request(row, spec, step.tick, tick=step.tick))
        except (Overloaded, StoreUnavailable) as refusal:
            wait = RETRY_MS if refusal.retry_after is None else round(refusal.retry_after * 1000)
            # Until just after the window at the latest: then the tick is recorded as failed.
            return await self._postpone(row, step.tick, min(step.now + wait, due + spec.catchup + 1), error_body(refusal))
        except AgenticError as refusal:
            error = error_body(refusal)
        return self._told(await self._schedules.fire(Firing(step, due, spec.overlap, run, error, by=f"schedule {row.name}")))

    async def _late(self, row: ScheduleRow, spec: ScheduleSpec, tick: int, due: int, now: int) -> bool:
        """The catch-up window is over: record the tick as failed when it was tried, else it and those after it as missed."""
        timing, schedule_id = spec.timing, row.schedule_id
        if row.error is not None:
            following, following_at = planned(timing, schedule_id, tick)
            step = Step(schedule_id, row.etag, tick, following, following_at, now)
            return self._told(await self._schedules.fire(Firing(step, due, spec.overlap, error=row.error)))
        last, count = tick, 1
        following = next_tick(timing, last)
        while following is not None and following + timing.jitter + spec.catchup < now and count < MISSED_AT_ONCE:
            last, count = following, count + 1
            following = next_tick(timing, last)
        at = None if following is None else planned(timing, schedule_id, last)[1]
        log.warning("ticks_missed", schedule=row.name, tenant=row.tenant, ticks=count)
        return await self._schedules.pass_over(Step(schedule_id, row.etag, tick, following, at, now), Gap(tick, last, count, due))

    async def _postpone(self, row: ScheduleRow, tick: int, until: int, error: dict[str, Any]) -> bool:
        """Look at the tick again later. Never counts as a move: there is nothing to do at once."""
        await self._schedules.delay(Step(row.schedule_id, row.etag, tick, tick, until, self._clock.now()), error)
        return False

    # --- ticks that wait ---------------------------------------------------------------------------------------------

    async def _release(self, row: ScheduleRow, tick: TickRow) -> bool:
        """Start a tick whose turn has come. For want of room it goes on waiting."""
        run: NewRun | None = None
        error = None
        try:
            run = await self._gateway.prepare(row.tenant, start_request(row, load_spec(row.spec), tick.tick, tick=tick.tick))
        except (Overloaded, StoreUnavailable):
            return False
        except AgenticError as refusal:
            error = error_body(refusal)
        except Exception as defect:
            log.exception("schedule_failed", schedule=row.name)
            error = {"code": "internal", "message": type(defect).__name__}
        return self._told(await self._schedules.release(tick, run, error, self._clock.now()))

    def _told(self, fired: Fired | None) -> bool:
        if fired is None:
            return False
        self._gateway.runner.nudge(fired.nudge)
        return True
