"""Owns runs: claims them, turns them, gives them up. Many hosts share one database; the journal's fences keep them apart."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import structlog

from runtime.artifacts.protocol import ArtifactStore
from runtime.clock import Clock, SystemClock
from runtime.engine.evolve import fold
from runtime.engine.states import RunStatus
from runtime.errors import RunPoisoned, StoreUnavailable
from runtime.host.children import Children
from runtime.host.dispatch import Dispatcher
from runtime.host.ends import trace_end
from runtime.host.intake import POLL_SECONDS, Intake
from runtime.host.leases import Observer
from runtime.host.mailroom import Mailroom
from runtime.host.marks import WRITER, Marks
from runtime.host.neighbours import Neighbours
from runtime.host.plans import Plans
from runtime.host.quarantine import quarantine
from runtime.host.slot import Recorded, Slot
from runtime.host.turns import Turns, Work
from runtime.host.waiting import either
from runtime.host.watchers import Watchers
from runtime.settings import Settings
from runtime.steps.protocol import Executor, StepResult
from runtime.store.open import Store
from runtime.store.protocol import Append, AppendOutcome, Claim, Message, OwnerRow, RunRow
from runtime.tracing.spans import Tracer

log = structlog.get_logger(__name__)

STRANGER_SECONDS = 0.2
MAX_DEATHS = 3
"""So many processes may die in the middle of turns of one run, without any progress in between, before it is ended as `poison`."""


class Host:
    """One process that owns runs.

    `neighbours`: absent where this host is the only one, which then owns runs that want an actor of their own, too.
    `dedicated_to`: claim this run only. `marks`: a file for this process and those that follow it, see marks.py.
    """

    def __init__(
        self,
        *,
        owner: OwnerRow,
        store: Store,
        artifacts: ArtifactStore,
        executor: Executor,
        settings: Settings,
        tracer: Tracer | None = None,
        clock: Clock | None = None,
        dedicated_to: str | None = None,
        neighbours: Neighbours | None = None,
        marks: Path | None = None,
    ) -> None:
        self._owner = owner
        self._marks = Marks(marks)
        self._store = store
        self._journal = store.journal
        self._settings = settings
        self._tracer = tracer
        self._clock = clock or SystemClock()
        self._slots: dict[str, Slot] = {}
        self._watchers = Watchers()
        self._observer = Observer(owner.owner, self._clock, settings.lease_ms)
        self._dispatcher = Dispatcher(executor, self._receive)
        children = Children(store.catalog, artifacts, max_input_bytes=settings.max_input_bytes)
        self._turns = Turns(
            self._journal,
            store.catalog,
            artifacts,
            store.conversations,
            children,
            self._dispatcher,
            self._clock,
            self._marks,
            patience_ms=settings.passivate_after_ms,
            notify=self._notify,
        )
        self._neighbours = neighbours
        self._plans = Plans(store.catalog)
        self._anew: set[str] = set()  # ours, and not in memory until the database is back
        self._opening: dict[str, tuple[Slot, Work]] = {}
        """Written together with the claim, and waiting to hear of the commit."""
        self._intake = Intake(
            self._journal,
            owner.owner,
            self._clock,
            room=self._room,
            adopt=self._adopt,
            first=self._first,
            opened=self._opened,
            keeps=self._slots.__contains__,
            shared=neighbours is not None and dedicated_to is None,
            dedicated_to=dedicated_to,
        )
        self._mailroom = Mailroom(self._journal, owner.owner, self._slots, self._wake)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._draining = False
        self._closed = asyncio.Event()
        self._idle = asyncio.Event()

    # --- lifecycle ---------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Register this owner and begin to look for work."""
        await self._journal.register(self._owner, suspects=self._marks.suspects)
        self._journal.on_news(self._notify)
        for loop in (self._intake.claim, self._intake.audit, self._intake.tend_slots, self._mailroom.bring, self._beats, self._looks):
            self._spawn(self._forever(loop))
        self._intake.look_around()

    async def stop(self, grace_ms: int) -> None:
        """Drain: claim nothing new, let steps in flight end for at most `grace_ms`, hand every run over, leave."""
        self._draining = True
        for slot in self._slots.values():
            self._wake(slot)
        self._check_idle()
        if not await either(self._idle, grace_ms / 1000):
            log.warning("drain_grace_over", runs=len(self._slots))
            await self._hand_over_all()
        await self._close()
        await self._journal.bury([self._owner.owner], now=self._clock.now())

    async def wait_closed(self) -> None:
        """Return when this host has ended, by `stop` or because others declared it dead."""
        await self._closed.wait()

    @property
    def owned(self) -> int:
        """Runs in memory."""
        return len(self._slots)

    @property
    def owner(self) -> str:
        """This incarnation's id."""
        return self._owner.owner

    @property
    def still(self) -> bool:
        """Whether nothing is under way, so that only time or a new message leads on."""
        busy = self._mailroom.busy or self._opening or self._intake.busy or self._dispatcher.busy
        return not busy and not any(slot.busy for slot in self._slots.values())

    # --- hints from outside ------------------------------------------------------------------------------------------

    def nudge(self, run_ids: Sequence[str] = ()) -> None:
        """There is something to do, for these runs if named. Loses nothing when it is lost."""
        wanted = [run_id for run_id in run_ids if run_id not in self._slots]
        self._intake.want(wanted)
        if len(wanted) < len(run_ids):
            self._mailroom.news.set()

    def owner_died(self, owner: str) -> None:
        """Somebody knows that this owner's process is gone: do not wait for its lease to run out."""
        self._intake.look_around([owner])

    async def watch(self, run_id: str, after: int, timeout: float) -> None:
        """Return when the run's head passes `after`, when it leaves this host, or after `timeout` s; soon when it is not here.

        Not at once even then: whoever has just submitted a run asks before its nudge has led to a claim.
        """
        slot = self._slots.get(run_id)
        if slot is not None and slot.head > after:
            return
        await self._watchers.wait(run_id, after, timeout if slot is not None else min(timeout, STRANGER_SECONDS))

    async def record(self, run_id: str, epoch: int, step_key: str, body: dict[str, Any]) -> bool:
        """Journal a finished call, once the run is read anew if need be. False when it is no longer here: keep the call for its next owner."""
        while True:
            slot = self._slots.get(run_id)
            if slot is not None and slot.state.epoch == epoch:
                slot.calls.append(call := Recorded(step_key, body, asyncio.get_running_loop().create_future()))
                self._wake(slot)
                if await asyncio.shield(call.done):  # the turn resolves it, also when whoever asked was canceled meanwhile
                    return True
            if run_id not in self._anew:
                return False
            await asyncio.sleep(POLL_SECONDS / 4)

    # --- loops -------------------------------------------------------------------------------------------------------

    async def _forever(self, loop: Callable[[], Awaitable[None]]) -> None:
        """Run a loop's body again and again; a database that is away is waited for."""
        while not self._closed.is_set():
            try:
                await loop()
            except StoreUnavailable as failure:
                log.warning("store_unavailable", loop=loop.__name__, error=str(failure))
                await asyncio.sleep(POLL_SECONDS)
            except Exception:  # the border of a loop all runs here depend on: an owner that beats and does nothing would be worse
                log.exception("loop_failed", loop=loop.__name__)
                await asyncio.sleep(POLL_SECONDS)

    async def _beats(self) -> None:
        await asyncio.sleep(self._settings.lease_ms / 4000)
        try:
            beating = await self._journal.beat(self.owner, draining=self._draining)
        except StoreUnavailable as failure:  # the next beat comes at its time, not after a pause: a second of it would be a third of a lease
            log.warning("beat_missed", error=str(failure))
            return
        if not beating:
            log.error("lease_lost", owner=self.owner, runs=len(self._slots))
            await self._close()

    async def _looks(self) -> None:
        """Beside the beats, not behind them: whoever cannot see the others for a while lives all the same."""
        await asyncio.sleep(self._settings.lease_ms / 4000)
        dead = self._observer.dead(await self._journal.owners())
        if dead:
            log.warning("owners_dead", owners=dead)
            self._intake.look_around(dead)

    # --- runs --------------------------------------------------------------------------------------------------------

    def _first(self, claim: Claim) -> Append | None:
        """The first turn of a fresh run, to be written together with its claim. Called on the writer's thread."""
        plan = self._plans.known(claim.row)
        fresh = claim.row.status is RunStatus.QUEUED and claim.row.cancel_requested_at is None and claim.row.deaths < MAX_DEATHS
        if plan is None or claim.events is None or not fresh or self._draining:
            return None
        try:
            with self._marks.turning(claim.row.run_id, WRITER):
                slot = Slot(claim.row, fold(plan, claim.events, run_id=claim.row.run_id), again=False)
                turn = self._turns.open(slot, self._clock.now())
        except Exception:  # noqa: BLE001 - the ordinary way meets it again, and knows what to do
            return None
        if turn is None:
            return None
        self._opening[claim.row.run_id] = (slot, turn[1])
        return turn[0]

    def _opened(self, claim: Claim) -> bool:
        """Go on with a run whose first turn was committed with its claim. False: it has to be adopted the ordinary way."""
        opening = self._opening.pop(claim.row.run_id, None)
        if claim.opened is not AppendOutcome.COMMITTED or opening is None or self._closed.is_set():
            return False
        slot, work = opening
        self._slots[slot.run_id] = slot
        self._turns.opened(slot, work)
        self._committed(slot, work)
        if slot.again and slot.run_id in self._slots:
            self._wake(slot)
        return True

    async def _adopt(self, claim: Claim, mail: Sequence[Message]) -> None:
        """Begin to own a claimed run: fold its journal and take its first turn. Raises StoreUnavailable."""
        run_id = claim.row.run_id
        try:
            if claim.row.deaths >= MAX_DEATHS:
                raise RunPoisoned(f"{claim.row.deaths} processes died while they computed this run's turns, and it made no progress")
            plan = await self._plans.of(claim.row)
            events = claim.events if claim.events is not None else await self._events(run_id)
            with self._marks.turning(run_id):
                slot = Slot(claim.row, fold(plan, events, run_id=run_id), head=claim.row.head)
        except StoreUnavailable:
            raise
        except Exception as failure:  # noqa: BLE001 - whatever is wrong with one run must not touch the others
            await quarantine(self._journal, claim.row, failure, self._clock.now(), self._tracer)
            return
        if self._closed.is_set() or run_id in self._slots:
            return
        self._slots[run_id] = slot
        for message in mail:
            slot.deliver(message)
        self._mailroom.news.set()
        self._wake(slot)

    async def _events(self, run_id: str) -> list[Any]:
        events: list[Any] = []
        while len(page := await self._journal.events(run_id, after=len(events), limit=5_000)) == 5_000:
            events += page
        return events + page

    def _wake(self, slot: Slot) -> None:
        slot.again = True
        if not slot.turning:
            slot.turning = True
            self._spawn(self._turn(slot))

    async def _turn(self, slot: Slot) -> None:
        """Take turns until nothing more is waiting. Only one such task per run exists at any time."""
        try:
            while slot.again and self._slots.get(slot.run_id) is slot and not self._closed.is_set():
                slot.again = False
                slot.quiet()
                outcome, work = await self._turns.take(slot, draining=self._draining)
                await self._settle(slot, outcome, work)
        except StoreUnavailable as failure:
            log.warning("store_unavailable", run_id=slot.run_id, error=str(failure))
            self._anew.add(slot.run_id)
            self._forget(slot)
            self._spawn(self._later(slot.row))
        except Exception as failure:  # noqa: BLE001 - see _adopt
            self._forget(slot)
            await quarantine(self._journal, slot.row, failure, self._clock.now(), self._tracer)
        finally:
            slot.turning = False

    async def _settle(self, slot: Slot, outcome: AppendOutcome, work: Work) -> None:
        if outcome is AppendOutcome.FENCED:
            log.info("fenced", run_id=slot.run_id, epoch=slot.state.epoch)
            self._forget(slot)
        elif outcome is AppendOutcome.CANCEL_FIRST:
            self._forget(slot)
            await self._intake.reload(slot.row)
        else:
            await self._turns.cancel_children(work)
            self._committed(slot, work)

    def _committed(self, slot: Slot, work: Work) -> None:
        state = slot.state
        self._watchers.moved(slot.run_id, state.head)
        trace_end(self._tracer, slot.row, state)
        if state.ended or work.release:
            self._forget(slot)
            if self._draining and not state.ended and self._neighbours is not None:
                self._neighbours.offer([slot.run_id])
        elif work.more:
            slot.again = True
        elif work.wake_at is not None:
            slot.timer = self._clock.at(work.wake_at, partial(self._wake, slot))

    def _forget(self, slot: Slot) -> None:
        slot.quiet()
        if self._slots.get(slot.run_id) is slot:
            del self._slots[slot.run_id]
        for call in slot.calls:
            call.done.set_result(False)
        slot.calls.clear()
        self._watchers.gone(slot.run_id)
        self._check_idle()

    async def _later(self, row: RunRow) -> None:
        """Read a run anew as soon as the database is back."""
        try:
            while not self._closed.is_set():
                await asyncio.sleep(POLL_SECONDS)
                with contextlib.suppress(StoreUnavailable):
                    return await self._intake.reload(row)
        finally:
            self._anew.discard(row.run_id)

    def _room(self) -> int:
        return 0 if self._draining else max(0, self._settings.runs_per_actor - len(self._slots))

    def _receive(self, results: Sequence[StepResult]) -> None:
        """Results of steps; those of runs that are no longer here are the next owner's business."""
        for result in results:
            slot = self._slots.get(result.run_id)
            if slot is not None and slot.state.epoch == result.epoch:
                slot.results.append(result)
                self._wake(slot)

    def _notify(self, run_ids: Sequence[str]) -> None:
        self.nudge(run_ids)
        if self._neighbours is not None:
            self._neighbours.nudge(run_ids)

    async def _hand_over_all(self) -> None:
        now = self._clock.now()
        slots = [slot for slot in self._slots.values() if not slot.turning]
        await asyncio.gather(*(self._turns.release(slot, now) for slot in slots))
        if self._neighbours is not None:
            self._neighbours.offer([slot.run_id for slot in slots])

    def _check_idle(self) -> None:
        if self._draining and not self._slots:
            self._idle.set()

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _close(self) -> None:
        self._closed.set()
        for slot in list(self._slots.values()):
            self._forget(slot)
        await self._intake.close()
        current = asyncio.current_task()
        tasks = [task for task in self._tasks if task is not current]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._dispatcher.close()
        self._marks.close()
