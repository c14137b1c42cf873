"""The invariants of the journal as a check anybody may run at any time: `agentic doctor --fsck`.

Numbers are those of docs/architecture.md: I1 no gaps, I2 epochs, I3 one end, I4 one end per step,
I8 accepted cancels win, I10 columns equal the fold, I11 keys lead to runs, I12 the outbox holds what its events demand, and nothing else,
I13 slots: who works has one, and no more have one than the limit says, I14 a tick has one run,
I15 the ledger has the calls of the journals, I16 budgets have spent what the ledger says, I17 and hold back what their calls under way may cost.
What needs the definition (I5, I9) is checked by the engine whenever it folds a run.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from sqlalchemy import Connection, and_, bindparam, exists, func, or_, select

from runtime.clock import SystemClock
from runtime.engine.events import RUN_ENDS, STEP_ENDS, Event, Kind
from runtime.engine.states import RUN_TRANSITIONS, RunStatus, run_after
from runtime.errors import InvalidTransition, JournalDamaged
from runtime.store.fsck_money import Told, kept_from, misjudged, miskept, told, unbooked
from runtime.store.fsck_outbox import unfounded, untold
from runtime.store.open import Store
from runtime.store.queries import read_events
from runtime.store.tables import approvals, artifacts, events, idem, inbox, owners, removals, runs, schedule_ticks, schedules, value_refs

T = TypeVar("T")

_PAGE = 200
_EVENTS = 5_000
_GROUP = (runs.c.slot_group,)
_LANE = (runs.c.slot_group, runs.c.slot_key)
_MAX_FINDINGS = 1_000

_COLUMNS = ("run_id", "status", "epoch", "head", "owner", "wake_at", "waiting_for", "cancel_requested_at", "ended_at", "slot_held")
_RUNS = select(*(runs.c[name] for name in _COLUMNS)).where(runs.c.run_id > bindparam("after")).order_by(runs.c.run_id).limit(_PAGE)


@dataclass(slots=True)
class _Fold:
    """What one pass over a journal yields."""

    run_id: str
    status: RunStatus = RunStatus.QUEUED
    waiting_for: str | None = None
    head: int = 0
    epoch: int = 0
    ended_at: int | None = None
    steps_ended: set[str] = field(default_factory=set)
    paid: dict[str, Told] = field(default_factory=dict)
    """Model calls by their id."""
    findings: list[str] = field(default_factory=list)

    def broken(self, invariant: str, detail: str) -> None:
        self.findings.append(f"{invariant} run {self.run_id}: {detail}")

    def add(self, event: Event) -> None:
        if event.seq != self.head + 1:
            self.broken("I1", f"event {event.seq} follows event {self.head}")
        if self.ended_at is not None:
            self.broken("I3", f"event {event.seq} ({event.kind}) comes after the end")
        self._epoch(event)
        self._step(event)
        self._run(event)
        if (call := told(event)) is not None:
            self.paid.setdefault(*call)
        self.head = event.seq

    def _epoch(self, event: Event) -> None:
        if event.epoch < self.epoch:
            self.broken("I2", f"event {event.seq} is of epoch {event.epoch}, after one of epoch {self.epoch}")
        elif (event.kind is Kind.RUN_CLAIMED) != (event.epoch > self.epoch):
            self.broken("I2", f"event {event.seq} ({event.kind}) of epoch {event.epoch}: an epoch begins with its claim, and only there")
        self.epoch = max(self.epoch, event.epoch)

    def _step(self, event: Event) -> None:
        step = (event.step or "").partition("#")[0]
        if step in self.steps_ended:
            self.broken("I4", f"event {event.seq} ({event.kind}) comes after step {step} has ended")
        if event.kind in STEP_ENDS:
            self.steps_ended.add(step)

    def _run(self, event: Event) -> None:
        if event.kind in RUN_TRANSITIONS:
            try:
                self.status = run_after(self.status, event.kind)
            except InvalidTransition as error:
                self.broken("I10", f"event {event.seq}: {error}")
        if event.kind in (Kind.RUN_WAITING, Kind.RUN_PAUSED):
            self.waiting_for = (event.body or {}).get("waiting_for")
        elif self.status not in (RunStatus.WAITING, RunStatus.PAUSED):
            self.waiting_for = None
        if event.kind in RUN_ENDS:
            self.ended_at = event.at


async def fsck(store: Store, now: int | None = None) -> list[str]:
    """Every broken invariant as one line naming it; an empty list means that all is well. Stops after 1,000 findings. `now`: ms, of the clock."""
    moment = SystemClock().now() if now is None else now
    findings: list[str] = await store.reader.snapshot(lambda connection: list(_leftovers(connection)))
    await _all_pages(store, partial(_check_page, now=moment), "", findings)
    await _all_pages(store, partial(misjudged, now=moment), ("", "", "", ""), findings)
    return findings[:_MAX_FINDINGS]


async def _all_pages(store: Store, check: Callable[..., tuple[T | None, list[str]]], begin: T, findings: list[str]) -> None:
    """Call `check(connection, after=…)` for page after page, each in one snapshot, until none is left or there are findings enough."""
    after: T | None = begin
    while after is not None and len(findings) < _MAX_FINDINGS:
        after, found = await store.reader.snapshot(partial(check, after=after))
        findings += found


def _check_page(connection: Connection, after: str, now: int) -> tuple[str | None, list[str]]:
    """Check one page of runs in one snapshot; the last run id, None when there is none."""
    findings: list[str] = []
    last, complete_from = None, kept_from(connection, now)
    page = connection.execute(_RUNS, {"after": after}).all()
    for row in page:
        last = row.run_id
        fold = _Fold(row.run_id)
        try:
            for event in _journal(connection, row.run_id):
                fold.add(event)
        except JournalDamaged as error:
            fold.broken("I7", str(error))
        else:
            _compare(fold, row._asdict())
            fold.findings += unbooked(connection, row.run_id, fold.paid, complete_from)
        findings += fold.findings
    findings += untold(connection, [row.run_id for row in page])
    return last, findings


def _journal(connection: Connection, run_id: str) -> Iterator[Event]:
    after = 0
    while page := read_events(connection, run_id, after, _EVENTS):
        yield from page
        after = page[-1].seq


def _compare(fold: _Fold, row: dict[str, object]) -> None:
    expected = {"status": fold.status.value, "head": fold.head, "epoch": fold.epoch, "ended_at": fold.ended_at, "waiting_for": fold.waiting_for}
    for name, value in expected.items():
        if row[name] != value:
            fold.broken("I10", f"column {name} is {row[name]!r}, its journal says {value!r}")
    ended = fold.status.ended
    if ended and (row["owner"] is not None or row["wake_at"] is not None):
        fold.broken("I3", "it has ended and still has an owner or a time to wake")
    if ended and row["cancel_requested_at"] is not None and fold.status is not RunStatus.CANCELED:
        fold.broken("I8", f"a cancel was accepted and it ended {fold.status}")
    without = row["slot_held"] is False and not ended and row["cancel_requested_at"] is None
    if without and (fold.status is not RunStatus.QUEUED or row["owner"] is not None or row["wake_at"] is not None):
        fold.broken("I13", "it waits for a slot and is under way, or may be claimed, all the same")


def _leftovers(connection: Connection) -> Iterable[str]:
    """Rows that speak of what is not there."""
    no_run = ~exists().where(runs.c.run_id == idem.c.run_id)
    for key, run_id in connection.execute(select(idem.c.key, idem.c.run_id).where(no_run).limit(_MAX_FINDINGS)):
        yield f"I11 key {key}: leads to run {run_id}, which is not there"
    for table in (events, inbox, approvals, artifacts, value_refs):
        # What a removed run has left goes in portions; until then it is listed.
        orphan = ~exists().where(runs.c.run_id == table.c.run_id) & ~exists().where(removals.c.run_id == table.c.run_id)
        for run_id in connection.scalars(select(table.c.run_id).where(orphan).distinct().limit(_MAX_FINDINGS)):
            yield f"I7 run {run_id}: table {table.name} has rows of it, and there is no such run"
    yield from unfounded(connection, _MAX_FINDINGS)
    yield from _ticks(connection)
    yield from miskept(connection, _MAX_FINDINGS)
    no_owner = runs.c.owner.is_not(None) & ~exists().where(owners.c.owner == runs.c.owner)
    for run_id in connection.scalars(select(runs.c.run_id).where(no_owner).limit(_MAX_FINDINGS)):
        yield f"L1 run {run_id}: its owner has no row, so nobody would notice its death"
    for columns, limit, what in ((_GROUP, runs.c.slot_limit, "group"), (_LANE, runs.c.slot_per_key, "key")):
        # Runs of several versions may share a group: each was let in by its own limit, so none is beyond the widest of them.
        over = and_(func.count() > func.max(limit), func.count() == func.count(limit))
        counted = select(*columns, func.count()).where(runs.c.slot_held, runs.c.ended_at.is_(None)).group_by(*columns).having(over)
        for *lane, count in connection.execute(counted.limit(_MAX_FINDINGS)):
            yield f"I13 {what} {' '.join(lane)}: {count} runs have a slot, more than the limit says"


def _ticks(connection: Connection) -> Iterable[str]:
    """A tick that started names a run that names the tick, while that run is kept; no schedule will decide a tick a second time."""
    other = exists().where(
        runs.c.run_id == schedule_ticks.c.run_id,
        or_(runs.c.schedule_id != schedule_ticks.c.schedule_id, runs.c.schedule_tick != schedule_ticks.c.tick, runs.c.schedule_tick.is_(None)),
    )
    unlike = (schedule_ticks.c.outcome == "started") != schedule_ticks.c.run_id.is_not(None)
    for schedule_id, tick in connection.execute(select(schedule_ticks.c.schedule_id, schedule_ticks.c.tick).where(or_(other, unlike)).limit(_MAX_FINDINGS)):
        yield f"I14 schedule {schedule_id}: the record of tick {tick} and its run do not fit together"
    back = or_(schedules.c.next_tick <= schedules.c.last_tick, schedules.c.next_at < schedules.c.next_tick) & schedules.c.paused.is_(False)
    for schedule_id in connection.scalars(select(schedules.c.schedule_id).where(back).limit(_MAX_FINDINGS)):
        yield f"I14 schedule {schedule_id}: its next tick was decided before, or would start too early"
