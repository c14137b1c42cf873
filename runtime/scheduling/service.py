"""What people do with schedules, for the HTTP API and for programs. Starting ticks is the Scheduler's part alone."""

from collections.abc import Callable
from dataclasses import replace
from itertools import islice, takewhile
from typing import Any

from runtime.definition.names import did_you_mean
from runtime.errors import Conflict, LimitExceeded, NotFound, Problem, RequestInvalid, VersionChanged
from runtime.gateway import Gateway
from runtime.gateway.starts import Started
from runtime.ids import uuid7
from runtime.schedules.overlap import Overlap, Reason
from runtime.schedules.spec import ScheduleBody, ScheduleSpec, load_spec, read_body, spec_hash
from runtime.schedules.ticks import Timing, due_at, next_tick, planned, ticks
from runtime.scheduling.starting import input_problems, triggered
from runtime.store.schedules.protocol import Change, Gap, ScheduleRow, Schedules, Standing, TickRow

MAX_BACKFILL = 1000
"""Ticks of one backfill."""
MAX_UPCOMING = 1000
_MAX_PASSED = 1000
"""Due ticks that a change counts one by one as it passes over them."""


class Scheduling:
    """Schedules of all tenants. What a method has returned is on disk; what belongs to another tenant does not exist."""

    def __init__(self, gateway: Gateway, schedules: Schedules) -> None:
        self._gateway = gateway
        self._schedules = schedules
        self._clock = gateway.clock

    # --- reading -----------------------------------------------------------------------------------------------------

    async def schedule(self, tenant: str, name: str) -> ScheduleRow:
        """Raises NotFound."""
        row = await self._schedules.schedule(tenant, name) if name.isprintable() else None
        if row is None:
            raise _missing(name)
        return row

    async def schedules(self, tenant: str, *, after: str | None = None, limit: int = 50) -> list[ScheduleRow]:
        """A page by name."""
        return await self._schedules.schedules(tenant, after=after, limit=limit)

    async def standing(self, row: ScheduleRow) -> Standing:
        """Which of its runs have not ended, and how many ticks wait."""
        return await self._schedules.standing(row.schedule_id)

    async def ticks(self, tenant: str, name: str, *, before: int | None = None, limit: int = 50) -> list[TickRow]:
        """What became of its ticks, newest first. Raises NotFound."""
        row = await self.schedule(tenant, name)
        return await self._schedules.ticks(row.schedule_id, before=before, limit=limit)

    async def upcoming(self, tenant: str, name: str, count: int) -> list[tuple[int, int]]:
        """The next ticks with the times they are due (ms), as if the schedule were not paused. Raises NotFound."""
        row = await self.schedule(tenant, name)
        timing = load_spec(row.spec).timing
        after = self._clock.now() if row.paused or row.next_tick is None else row.next_tick - 1
        return _with_due(timing, row.schedule_id, list(islice(ticks(timing, max(after, row.last_tick or 0)), min(count, MAX_UPCOMING))))

    # --- changing ----------------------------------------------------------------------------------------------------

    async def put(self, tenant: str, document: Any, *, name: str | None = None, if_match: str | None = None, create: bool = False) -> ScheduleRow:
        """Make a schedule, or change it. `name` is the one of the URL; with `if_match` only while that is the ETag.

        Raises RequestInvalid with all problems, Conflict (`create`, and the name is taken), VersionChanged.
        """
        body = await self._checked(tenant, document, name)
        spec = load_spec(body.document)
        named = name or str(body.name)
        now = self._clock.now()
        fresh = ScheduleRow(uuid7(now), tenant, named, spec.workflow, spec_hash(spec), spec.document, now, now)

        def edit(row: ScheduleRow | None) -> Change:
            if create and row is not None:
                raise Conflict(f"schedule {named!r} exists already")
            if if_match is not None and (row is None or row.etag != if_match):
                raise VersionChanged("the schedule has changed in the meantime")
            return _changed(row, fresh, spec, body, now)

        return await self._schedules.change(tenant, named, edit)

    async def pause(self, tenant: str, name: str, note: str | None = None) -> ScheduleRow:
        """No tick starts until `resume`; runs under way go on. Raises NotFound."""
        return await self._edit(tenant, name, lambda row, now: _paused(row, note, now))

    async def resume(self, tenant: str, name: str) -> ScheduleRow:
        """Go on with the first tick after now; the pause itself is not caught up. Raises NotFound."""
        return await self._edit(tenant, name, _resumed)

    async def delete(self, tenant: str, name: str, *, if_match: str | None = None) -> None:
        """Remove the schedule and the record of its ticks; its runs stay. Raises NotFound, VersionChanged."""
        if not name.isprintable() or not await self._schedules.delete(tenant, name, if_match=if_match):
            raise _missing(name)

    async def trigger(self, tenant: str, name: str, *, idempotency_key: str | None = None) -> Started:
        """Start a run now, outside the ticks, whatever the overlap policy and the pause say. Raises NotFound and what `Gateway.start` raises."""
        row = await self.schedule(tenant, name)
        return await self._gateway.start(tenant, triggered(row, load_spec(row.spec), self._clock.now(), idempotency_key))

    async def backfill(self, tenant: str, name: str, first: int, last: int, overlap: Overlap) -> list[TickRow]:
        """Let the ticks from `first` to `last` (ms, both inside, `last` not after now) wait for their turn; those started already stay as they are.

        Raises NotFound, RequestInvalid, LimitExceeded.
        """
        row = await self.schedule(tenant, name)
        now = self._clock.now()
        if last < first or first > now:
            pointer = "/to" if first <= now else "/from"
            raise RequestInvalid("this is no range of the past", problems=[Problem(pointer, "the range begins in the past and before it ends")])
        timing = load_spec(row.spec).timing
        wanted = list(islice(takewhile(lambda tick: tick <= min(last, now), ticks(timing, first - 1)), MAX_BACKFILL + 1))
        if len(wanted) > MAX_BACKFILL:
            raise LimitExceeded(f"the range has more than {MAX_BACKFILL} ticks; ask for a shorter one")
        # Asked for now, so it may start now: jitter has no part in it.
        return await self._schedules.backfill(row.schedule_id, [(tick, tick) for tick in wanted], overlap, now)

    async def _edit(self, tenant: str, name: str, edit: Callable[[ScheduleRow, int], Change]) -> ScheduleRow:
        await self.schedule(tenant, name)
        now = self._clock.now()

        def under_lock(row: ScheduleRow | None) -> Change:
            if row is None:
                raise _missing(name)
            return edit(row, now)

        return await self._schedules.change(tenant, name, under_lock)

    async def _checked(self, tenant: str, document: Any, name: str | None) -> ScheduleBody:
        """The schedule in a document. Raises RequestInvalid with everything that is wrong, its workflow and inputs included."""
        given = document.get("name") if isinstance(document, dict) else None
        body, problems = read_body({**document, "name": name} if isinstance(document, dict) and name is not None else document)
        if name is not None and given is not None and given != name:
            problems.append(Problem("/name", f"the schedule is named {str(given)[:100]}, the URL says {name[:100]}"))
        if name is None and given is None:
            problems.append(Problem("/name", "give the schedule a name"))
        if body is not None:
            problems += await self._workflow_problems(tenant, body)
        if problems or body is None:
            raise RequestInvalid(f"the schedule has {len(problems)} problem{'s' if len(problems) > 1 else ''}", problems=problems)
        return body

    async def _workflow_problems(self, tenant: str, spec: ScheduleSpec) -> list[Problem]:
        try:
            stored = await self._gateway.workflow(tenant, spec.workflow, spec.version)
        except NotFound:
            if spec.version is not None:
                return [Problem("/version", f"workflow '{spec.workflow}' has no version {spec.version}")]
            known = [row.workflow for row in await self._gateway.workflows(tenant, limit=1000)]
            return [Problem("/workflow", f"there is no workflow '{spec.workflow}'{did_you_mean(spec.workflow, known)}")]
        return input_problems(spec, self._gateway.compiled(stored).definition, self._clock.now())


def _changed(row: ScheduleRow | None, fresh: ScheduleRow, spec: ScheduleSpec, body: ScheduleBody, now: int) -> Change:
    """The schedule after a `put`: a new one, or the one that was there with another spec."""
    if row is None:
        started = _planned(fresh, spec.timing, now)
        return Change(_paused(started, body.note, now).row if body.paused else replace(started, note=body.note))
    paused = row.paused if body.paused is None else body.paused
    note = body.note if body.note is not None else row.note if paused and row.paused else None
    changed = replace(row, workflow=fresh.workflow, etag=fresh.etag, spec=fresh.spec, updated_at=now, error=None)
    if paused:
        stopped = _paused(row, note, now)
        return Change(replace(changed, paused=True, note=note, next_tick=stopped.row.next_tick, next_at=None, last_tick=stopped.row.last_tick), stopped.gap)
    if not row.paused and load_spec(row.spec).timing == spec.timing:
        return Change(replace(changed, note=note))  # also what is due stays due
    gap = None if row.paused else _overdue(row, now)
    return Change(_planned(replace(changed, paused=False, note=note), spec.timing, now), gap)


def _paused(row: ScheduleRow, note: str | None, now: int) -> Change:
    """What is due and not started yet is recorded as missed."""
    gap = None if row.paused else _overdue(row, now)
    last = row.last_tick if gap is None else gap.last
    kept = note if note is not None else row.note
    return Change(replace(row, paused=True, note=kept, next_at=None, last_tick=last, error=None, updated_at=now), gap)


def _resumed(row: ScheduleRow, now: int) -> Change:
    if not row.paused:
        return Change(row)
    return Change(_planned(replace(row, paused=False, note=None, updated_at=now), load_spec(row.spec).timing, now))


def _planned(row: ScheduleRow, timing: Timing, now: int) -> ScheduleRow:
    """The schedule with its next tick: later than now, and later than any that was decided, wherever clocks may have been set to."""
    tick, at = planned(timing, row.schedule_id, max(now, row.last_tick or 0))
    return replace(row, next_tick=tick, next_at=at)


def _overdue(row: ScheduleRow, now: int) -> Gap | None:
    """The ticks up to now that the schedule as it was has not started."""
    if row.next_tick is None or row.next_tick > now:
        return None
    timing = load_spec(row.spec).timing
    passed = list(islice(takewhile(lambda tick: tick <= now, ticks(timing, row.next_tick)), _MAX_PASSED))
    due = due_at(timing, row.schedule_id, row.next_tick, next_tick(timing, row.next_tick))
    return Gap(row.next_tick, passed[-1] if passed else row.next_tick, len(passed) + 1, due, Reason.CHANGED)


def _with_due(timing: Timing, schedule_id: str, found: list[int]) -> list[tuple[int, int]]:
    following = [*found[1:], next_tick(timing, found[-1]) if found else None]
    return [(tick, due_at(timing, schedule_id, tick, after)) for tick, after in zip(found, following, strict=False)]


def _missing(name: str) -> NotFound:
    return NotFound(f"there is no schedule {name[:100]!a}")
