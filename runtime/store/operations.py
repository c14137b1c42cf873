"""What waits for the writer: one object per call, prepared as far as possible before it takes a place in a transaction."""

from asyncio import Future
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sqlalchemy import Connection

from runtime.errors import InvalidTransition
from runtime.store.codec import event_row, plain_text, to_text, to_text_or_none
from runtime.store.protocol import Append, AppendOutcome, Claim, Message, NewRun, SendOutcome, Submitted
from runtime.store.refs import Refs, refs_of

_SLOT = ("slot_group", "slot_key", "slot_limit", "slot_per_key", "slot_on_limit", "slot_held")
R = TypeVar("R")
Row = dict[str, Any]


class Operation(Generic[R]):
    """One call that waits. `outcome` is set inside the transaction, and means nothing before COMMIT."""

    def __init__(self, size: int = 0) -> None:
        self.future: Future[R]
        self.size = size
        self.outcome: R | Exception | None = None
        self.tentative: R | Exception | None = None
        """The outcome of an earlier try whose COMMIT was not confirmed: what may already be true."""


@dataclass(slots=True)
class PreparedRun:
    """A run to insert and its rows."""

    new: NewRun
    row: Row
    events: list[Row]
    labels: list[Row]
    refs: Refs

    @property
    def limited(self) -> bool:
        """Whether the run has limits of concurrency."""
        return self.new.row.slot_group is not None


@dataclass(slots=True)
class Mail:
    """A message, its id as the database will hold it, its body as text, and what that refers to."""

    message: Message
    message_id: str
    body: str
    refs: Refs


class SubmitRuns(Operation[list[Submitted]]):
    """`Journal.submit`."""

    def __init__(self, runs: Sequence[NewRun]) -> None:
        self.runs = [prepare_run(run) for run in runs]
        super().__init__(sum(_size(run.events) for run in self.runs))


class WriteTurn(Operation[AppendOutcome]):
    """`Journal.append`. Raises InvalidTransition when the events do not continue the guarded head in the guarded epoch."""

    def __init__(self, append: Append) -> None:
        for place, event in enumerate(append.events, append.head + 1):
            if event.seq != place or event.epoch != append.epoch:
                raise InvalidTransition(f"event {event.seq} of epoch {event.epoch} cannot be number {place} of epoch {append.epoch}", run_id=append.run_id)
        self.append = append
        self.rows = [event_row(append.run_id, event) for event in append.events]
        self.refs = refs_of(append.run_id, [row["body"] for row in self.rows])
        self.result = to_text_or_none(append.result)
        self.error = to_text_or_none(append.error)
        self.mail = [prepare_mail(message) for message in append.messages]
        self.children = [prepare_run(run) for run in append.children]
        super().__init__(_size(self.rows) + sum(_size(child.events) for child in self.children))


class Deliver(Operation[SendOutcome]):
    """`Journal.send`."""

    def __init__(self, message: Message) -> None:
        self.mail = prepare_mail(message)
        super().__init__(len(self.mail.body))


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which runs a claim asks for."""

    owner: str
    limit: int
    run_ids: tuple[str, ...]
    dead: tuple[str, ...]
    now: int
    shared: bool = False
    """Leave dedicated runs alone, also when they are named."""
    fair: bool = False
    """When more is due than `limit`, go round the workflows."""


class TakeRuns(Operation[list[Claim]]):
    """`Journal.claim`."""

    def __init__(self, wanted: Wanted, first: Callable[[Claim], Append | None] | None = None) -> None:
        super().__init__()
        self.wanted = wanted
        self.first = first


class LookAround(Operation[list[str]]):
    """`Journal.grant_slots`: have these groups looked at. The outcome is which runs got a slot."""

    def __init__(self, groups: Sequence[str]) -> None:
        super().__init__()
        self.groups = tuple(groups)


class Beat(Operation[bool]):
    """`Journal.beat`."""

    def __init__(self, owner: str, *, draining: bool) -> None:
        super().__init__()
        self.owner = owner
        self.draining = draining


class Work(Operation[R]):
    """Any other write. The function raises an AgenticError only before it has written anything."""

    def __init__(self, function: Callable[[Connection], R]) -> None:
        super().__init__()
        self.function = function


def prepare_run(new: NewRun) -> PreparedRun:
    """The rows of a run that begins: queued, epoch 0, to be claimed at `wake_at` or at once."""
    row = new.row
    values: Row = {
        "run_id": row.run_id,
        "tenant": row.tenant,
        "workflow": row.workflow,
        "definition": row.definition,
        "status": row.status.value,
        "mode": row.mode,
        "epoch": row.epoch,
        "head": len(new.events),
        "created_at": row.created_at,
        "wake_at": row.created_at if row.wake_at is None else row.wake_at,
        "priority": row.priority,
        "isolation": row.isolation,
        "deaths": 0,
        "parent_run": row.parent_run,
        "parent_step": row.parent_step,
        "forked_from": row.forked_from,
        "schedule_id": row.schedule_id,
        "schedule_tick": row.schedule_tick,
        "labels": to_text(row.labels) if row.labels else None,
        "keep_for": row.keep_for,
    }
    if row.slot_group is not None:
        values |= {name: getattr(row, name) for name in _SLOT}
    labels: list[Row] = [{"key": key, "value": value, "run_id": row.run_id} for key, value in row.labels.items()]
    events = [event_row(row.run_id, event) for event in new.events]
    return PreparedRun(new, values, events, labels, refs_of(row.run_id, [event["body"] for event in events]))


def prepare_mail(message: Message) -> Mail:
    """A message with its body as text."""
    body = to_text(message.body)
    return Mail(message, plain_text(message.message_id), body, refs_of(message.run_id, [body]))


def _size(rows: list[Row]) -> int:
    return sum(len(row["body"] or "") + 100 for row in rows)
