"""One turn of one run: advance the pure engine, commit what it wrote, and only then do what it wants done."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import structlog
from pydantic_core import to_json

from runtime.artifacts.protocol import ArtifactStore
from runtime.clock import Clock
from runtime.definition.tools import WorkflowTool
from runtime.engine.advance import advance
from runtime.engine.commands import CancelChild, Command, StartChild, StartItems, StartStep, StopStep
from runtime.engine.decide import in_flight, needs_own_process
from runtime.engine.events import RUN_ENDS, Event, Kind
from runtime.engine.evolve import evolve
from runtime.engine.state import RunState, split_key
from runtime.engine.states import RunStatus, StepStatus
from runtime.engine.turn import Turn
from runtime.failpoints import reach, without
from runtime.host.children import Children, child_message
from runtime.host.conversations import exchanges_of, said_so_far
from runtime.host.dispatch import Dispatcher, step_call
from runtime.host.ledger import ledger_row, raised_by, settles
from runtime.host.marks import Marks
from runtime.host.offering import offered, workflow_tools
from runtime.host.slot import Recorded, Slot
from runtime.logs import about
from runtime.steps.protocol import StepResult
from runtime.store.catalog_protocol import ArtifactRow, Catalog
from runtime.store.conversation_protocol import Conversations, stored_name
from runtime.store.money_protocol import LedgerRow
from runtime.store.protocol import Append, AppendOutcome, ApprovalRow, Journal, Message, MessageKind, NewRun
from runtime.values import INLINE_LIMIT, is_reference, load, spill

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Work:
    """What one append is made of: the engine's turns since the last commit, and the child runs they start."""

    head: int
    events: list[Event] = field(default_factory=list)
    commands: list[Command] = field(default_factory=list)
    applied: list[str] = field(default_factory=list)
    children: list[NewRun] = field(default_factory=list)
    ledger: list[LedgerRow] = field(default_factory=list)
    release: bool = False
    wake_at: int | None = None
    more: bool = False

    def add(self, turn: Turn) -> None:
        self.events += turn.events
        self.commands += turn.commands
        self.applied += turn.applied
        self.release, self.wake_at, self.more = turn.release, turn.wake_at, turn.more


class Turns:
    """Takes turns for the host's runs."""

    def __init__(
        self,
        journal: Journal,
        catalog: Catalog,
        artifacts: ArtifactStore,
        conversations: Conversations,
        children: Children,
        dispatcher: Dispatcher,
        clock: Clock,
        marks: Marks,
        *,
        patience_ms: int,
        notify: Callable[[Sequence[str]], None],
    ) -> None:
        self._journal = journal
        self._catalog = catalog
        self._artifacts = artifacts
        self._conversations = conversations
        self._children = children
        self._dispatcher = dispatcher
        self._clock = clock
        self._marks = marks
        self._patience_ms = patience_ms
        self._notify = notify

    def open(self, slot: Slot, now: int) -> tuple[Append, Work] | None:
        """The first turn of a fresh run, when it needs nothing but the engine; it can then be written together with the claim."""
        reach("turn.before", slot.row.workflow)
        work = Work(head=slot.state.head)
        turn = advance(slot.state, now=now, recover=slot.recover, patience_ms=self._patience_ms)
        work.add(turn)
        if turn.loads or any(isinstance(command, StartChild) for command in turn.commands) or any(map(_may_be_large, turn.events)):
            return None
        slot.recover = False
        return _append(slot, work, turn.events, now), work

    def opened(self, slot: Slot, work: Work) -> None:
        """The append of `open` was committed: do what it wants done."""
        slot.head = slot.state.head
        self._carry_out(slot, work)
        self._tell(slot, work)

    async def take(self, slot: Slot, *, draining: bool) -> tuple[AppendOutcome, Work]:
        """Advance, append, carry out. The slot's state is ahead of the journal unless the outcome is COMMITTED.

        `draining`: only record what came in, and hand the run over as soon as nothing of it is in flight.
        """
        about.set(slot)  # every run is turned by a task of its own
        results, messages, calls = slot.take()
        try:
            return await self._take(slot, results, messages, calls, draining=draining)
        finally:
            for call in calls:
                if not call.done.done():  # the turn broke off: whoever recorded the call must not wait for ever
                    call.done.set_result(False)

    async def _take(
        self, slot: Slot, results: list[StepResult], messages: list[Message], calls: list[Recorded], *, draining: bool
    ) -> tuple[AppendOutcome, Work]:
        now = self._clock.now()
        work = Work(head=slot.state.head)
        with self._marks.turning(slot.run_id):
            reach("turn.before", slot.row.workflow)
            self._record(slot, [(call.step_key, call.body) for call in calls], work, now)
            self._record(slot, [(result.step_key, body) for result in results for body in result.calls], work, now)
            turn = advance(slot.state, now=now, results=results, messages=messages, recover=slot.recover, hold=draining, patience_ms=self._patience_ms)
        work.add(turn)
        await self._complete(slot, turn, work, now)
        if draining and not slot.state.ended and (slot.recover or not self._bound(slot.state)):
            work.release, work.wake_at = True, now
        slot.recover = False
        await self._register_artifacts(results, now)
        events = [await self._small(event) if event.body is not None else event for event in work.events]
        if without("intent"):
            self._carry_out(slot, work)
        outcome = await self._journal.append(_append(slot, work, events, now))
        for call in calls:
            call.done.set_result(outcome is AppendOutcome.COMMITTED)
        if outcome is AppendOutcome.COMMITTED:
            slot.applied.update(work.applied)
            self.opened(slot, work)
        return outcome, work

    def _bound(self, state: RunState) -> bool:
        """Whether something in flight would be lost if this process gave the run up now."""
        if not self._dispatcher.detached:
            return in_flight(state)
        return in_flight(state) and any(needs_own_process(state, name) for name in state.active)

    async def _register_artifacts(self, results: Sequence[StepResult], now: int) -> None:
        """Names first, then the results that speak of them: a name whose result is refused afterwards harms nobody."""
        for result in results:
            for artifact in result.artifacts:
                await self._catalog.put_artifact(ArtifactRow(run_id=result.run_id, created_at=now, **artifact))

    async def release(self, slot: Slot, now: int) -> None:
        """Hand a run over although steps of it are in flight: its next owner starts them again, or joins them where they run."""
        state = slot.state
        reach("drain.release")
        append = Append(slot.run_id, state.epoch, state.head, (), state.status, waiting_for=state.waiting_for, release=True, wake_at=now)
        await self._journal.append(append)

    def _record(self, slot: Slot, calls: Sequence[tuple[str, dict[str, Any]]], work: Work, now: int) -> None:
        """Journal finished model and tool calls of steps that are under way; after a step's end (it was canceled, say) nothing follows."""
        for step_key, body in calls:
            name, iteration = split_key(step_key)
            step = slot.state.steps[name]
            if step.status is not StepStatus.RUNNING or step.iteration != iteration:
                continue
            event = Event(slot.state.head + 1, slot.state.epoch, Kind.CALL_FINISHED, now, step_key, body=body)
            evolve(slot.state, event)
            work.events.append(event)
            if (row := ledger_row(slot, event)) is not None:
                work.ledger.append(row)

    async def _complete(self, slot: Slot, turn: Turn, work: Work, now: int) -> None:
        """Bring in values and prepare child runs until the turn lacks nothing."""
        prepared = 0
        while True:
            starts = [command for command in work.commands if isinstance(command, StartChild)][prepared:]
            if not turn.loads and not starts:
                return
            for reference in turn.loads:
                slot.state.loaded[reference["$artifact"]["sha256"]] = await load(reference, self._artifacts)
            prepared += len(starts)
            runs, refused = await self._children.prepare(slot, starts, now)
            work.children += runs
            with self._marks.turning(slot.run_id):
                turn = advance(slot.state, now=now, messages=refused, patience_ms=self._patience_ms)
            turn.applied.clear()  # these messages never were in the inbox
            work.add(turn)

    async def _small(self, event: Event) -> Event:
        """The event with what is too large for a journal row moved to the artifact store."""
        body = event.body or {}
        if event.kind is Kind.ITEMS_FINISHED:
            done = [[index, await self._value(output)] for index, output in body.get("done", ())]
            return event if not done else _with(event, done=done)
        field_name = _LARGE.get(event.kind)
        if field_name is None or body.get(field_name) is None:
            return event
        return _with(event, **{field_name: await self._value(body[field_name])})

    async def _value(self, value: Any) -> Any:
        if value is None or isinstance(value, (bool, int, float)) or is_reference(value) or (isinstance(value, str) and len(value) * 6 < INLINE_LIMIT):
            return value
        return value if len(to_json(value)) <= INLINE_LIMIT else await spill(value, self._artifacts, limit=1 << 30)

    def _carry_out(self, slot: Slot, work: Work) -> None:
        for command in work.commands:
            if isinstance(command, (StartStep, StartItems)):
                talk = command.conversation if isinstance(command, StartStep) else None
                tools = workflow_tools(slot.state.plan.steps[command.step].step)
                if talk is not None or tools:
                    self._dispatcher.after(self._informed(slot, command, talk, tools))
                elif slot.state.steps[command.step].status == "running":
                    self._dispatcher.send(step_call(slot, command))
            elif isinstance(command, StopStep):
                self._dispatcher.stop(slot.run_id, command.step)

    async def _informed(self, slot: Slot, command: StartStep | StartItems, talk: str | None, tools: Sequence[WorkflowTool]) -> None:
        """Send the step with what has to be read for it, unless it has ended meanwhile: what was said so far in its conversation, this run's own
        committed part included, and the workflows its agent may call.
        """
        exchanges = [] if talk is None else await said_so_far(self._conversations, slot.row.tenant, stored_name(talk, slot.state.mode))
        workflows = await offered(self._catalog, slot.row.tenant, tools)
        step = slot.state.steps[command.step]
        if step.status is StepStatus.RUNNING and (isinstance(command, StartItems) or step.attempt == command.attempt):
            history = tuple(message for exchange in exchanges for message in exchange.messages)
            self._dispatcher.send(step_call(slot, command, history=history, workflows=workflows))

    def _tell(self, slot: Slot, work: Work) -> None:
        """Wake whoever these events concern: child runs, children to cancel, the parent."""
        others = [child.row.run_id for child in work.children]
        if slot.state.ended and slot.state.parent is not None:
            others.append(slot.state.parent["run_id"])
        if others:
            self._notify(others)

    async def cancel_children(self, work: Work) -> None:
        """Deliver the cancels of a committed turn. A child that has ended by itself is fine too."""
        stops = [command for command in work.commands if isinstance(command, CancelChild)]
        if stops:
            now = self._clock.now()
            messages = [Message(stop.child, "cancel", MessageKind.CANCEL, {"reason": "the parent run ended"}, now) for stop in stops]
            await asyncio.gather(*map(self._journal.send, messages))
            self._notify([stop.child for stop in stops])


_LARGE = {
    Kind.STEP_SUCCEEDED: "output",
    Kind.STEP_ITERATED: "output",
    Kind.STEP_REUSED: "output",
    Kind.RUN_SUCCEEDED: "output",
    Kind.SIGNAL_RECEIVED: "payload",
    Kind.APPROVAL_REQUESTED: "show",
}


_AGAIN = frozenset({Kind.STEP_STARTED, Kind.ITEMS_STARTED, Kind.RUN_WOKEN, Kind.RUN_WAITING})
"""What a new owner writes before anything new has happened."""


def _append(slot: Slot, work: Work, events: Sequence[Event], now: int) -> Append:
    """What to write: these events and the columns that follow from the state they led to."""
    state = slot.state
    last = events[-1] if events and events[-1].kind in RUN_ENDS else None
    body = (last.body if last is not None else None) or {}
    return Append(
        run_id=slot.run_id,
        epoch=state.epoch,
        head=work.head,
        events=tuple(events),
        status=state.status,
        waiting_for=state.waiting_for,
        started_at=state.started_at,
        ended_at=state.ended_at,
        result=body.get("output"),
        error=body.get("error"),
        applied=tuple(work.applied),
        release=work.release or state.ended,
        wake_at=work.wake_at if work.release else None,
        approvals=tuple(_approvals(slot, events)),
        messages=tuple(_to_parent(slot, body, now)) if last is not None else (),
        progress=not events or any(event.kind not in _AGAIN for event in events),
        children=tuple(work.children),
        exchanges=tuple(exchanges_of(events, slot.row.tenant, slot.run_id, state.mode)),
        ledger=tuple(work.ledger),
        settles=settles(state),
        raised=raised_by(events, slot.row.tenant, state),
    )


def _may_be_large(event: Event) -> bool:
    return event.body is not None and (event.kind is Kind.ITEMS_FINISHED or event.kind in _LARGE)


def _with(event: Event, **changes: Any) -> Event:
    return Event(event.seq, event.epoch, event.kind, event.at, event.step, event.attempt, {**(event.body or {}), **changes})


def _approvals(slot: Slot, events: Sequence[Event]) -> list[ApprovalRow]:
    """The questions these events ask or settle, one row each."""
    rows: dict[str, ApprovalRow] = {}
    for event in events:
        body = event.body or {}
        if event.kind is Kind.APPROVAL_REQUESTED:
            rows[body["approval_id"]] = ApprovalRow(
                approval_id=body["approval_id"],
                run_id=slot.run_id,
                workflow=slot.row.workflow,
                step=event.step or "",
                requested_at=event.at,
                message=body["message"],
                form=body.get("form"),
                show=body.get("show"),
                expires_at=body.get("expires_at"),
            )
        elif event.kind is Kind.APPROVAL_RESOLVED:
            decision: dict[str, Any] = {key: body[key] for key in ("approved", "form", "by", "comment") if key in body}
            asked = rows.get(body["approval_id"]) or ApprovalRow(body["approval_id"], slot.run_id, slot.row.workflow, event.step or "", event.at)
            rows[body["approval_id"]] = replace(asked, decided_at=event.at, decision=decision)
    return list(rows.values())


def _to_parent(slot: Slot, body: dict[str, Any], now: int) -> list[Message]:
    parent = slot.state.parent
    if parent is None:
        return []
    status = RunStatus(slot.state.status).value
    return [
        child_message(
            parent["run_id"], slot.run_id, parent["step"], parent.get("index"), now, status=status, output=body.get("output"), error=body.get("error")
        )
    ]
