"""A desk to work a store from: makes runs, owners, turns and messages, with a clock that only moves when it is asked."""

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, delete, update

from runtime.engine.events import Event, Kind
from runtime.engine.states import RunStatus
from runtime.ids import uuid7
from runtime.store.open import Store
from runtime.store.operations import Work
from runtime.store.protocol import Append, AppendOutcome, ApprovalRow, Claim, Idempotency, Message, MessageKind, NewRun, OwnerRow, RunRow, SendOutcome
from runtime.store.tables import metadata, runs

TENANT = "acme"
_ticks = itertools.count(1_700_000_000_000)


def tick() -> int:
    """A millisecond later than the last one."""
    return next(_ticks)


def new_run(*, key: Idempotency | None = None, **fields: Any) -> NewRun:
    """A queued run with its `run.created`."""
    at = tick()
    row = RunRow(uuid7(at), TENANT, "brief", "d" * 64, RunStatus.QUEUED, "live", 0, 1, at)
    created = Event(1, 0, Kind.RUN_CREATED, at, body={"workflow": "brief", "inputs": {"topic": "bees"}})
    return NewRun(replace(row, **fields), (created,), key)


def key(name: str, fingerprint: str = "f1", expires_at: int = 1 << 50) -> Idempotency:
    return Idempotency(name, fingerprint, expires_at)


def message(run_id: str, kind: MessageKind = MessageKind.SIGNAL, *, message_id: str | None = None, **body: Any) -> Message:
    return Message(run_id, message_id or uuid7(), kind, body, tick())


class Hand:
    """One owner's hold of one run: what its memory of epoch and head is, right or wrong."""

    def __init__(self, store: Store, row: RunRow) -> None:
        self.store = store
        self.run_id, self.epoch, self.head = row.run_id, row.epoch, row.head

    def turn(self, *events: tuple[Kind, dict[str, Any]], status: RunStatus = RunStatus.RUNNING, **fields: Any) -> Append:
        """An append of these (kind, fields of Event) after what this hand believes is the head."""
        made = tuple(Event(self.head + place, self.epoch, kind, tick(), **given) for place, (kind, given) in enumerate(events, 1))
        return Append(self.run_id, self.epoch, self.head, made, status, **fields)

    async def append(self, *events: tuple[Kind, dict[str, Any]], status: RunStatus = RunStatus.RUNNING, **fields: Any) -> AppendOutcome:
        append = self.turn(*events, status=status, **fields)
        outcome = await self.store.journal.append(append)
        if outcome is AppendOutcome.COMMITTED:
            self.head += len(append.events)
        return outcome

    async def start(self) -> AppendOutcome:
        return await self.append((Kind.RUN_STARTED, {}), started_at=tick())

    async def end(self, kind: Kind = Kind.RUN_SUCCEEDED, **fields: Any) -> AppendOutcome:
        status = {Kind.RUN_SUCCEEDED: RunStatus.SUCCEEDED, Kind.RUN_FAILED: RunStatus.FAILED, Kind.RUN_CANCELED: RunStatus.CANCELED}[kind]
        append = self.turn((kind, {"body": {"output": 1}}), status=status, **fields)
        return await self.store.journal.append(replace(append, ended_at=append.events[-1].at))

    async def wait(self, *, wake_at: int | None = None, approvals: Sequence[ApprovalRow] = ()) -> AppendOutcome:
        """Journal that the run waits, and give it up."""
        events = [(Kind.RUN_WAITING, {"body": {"waiting_for": "timer"}})]
        return await self.append(*events, status=RunStatus.WAITING, waiting_for="timer", release=True, wake_at=wake_at, approvals=tuple(approvals))


class Desk:
    """Everything a test does to a store."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.journal = store.journal

    async def clear(self) -> None:
        """Remove all rows of all tables."""

        def remove(connection: Connection) -> None:
            for table in metadata.sorted_tables:
                connection.execute(delete(table))

        await self.store.writer.write(Work(remove))

    async def change(self, run_id: str, **columns: Any) -> None:
        """Put values into a run's row behind the journal's back."""
        await self.store.writer.write(Work(lambda connection: connection.execute(update(runs).where(runs.c.run_id == run_id).values(columns)) and None))

    async def owner(self, name: str = "host-1", *, suspects: Sequence[str] = ()) -> str:
        await self.journal.register(OwnerRow(name, 0, tick(), "machine", name, "0.1.0"), suspects=suspects)
        return name

    async def submit(self, **fields: Any) -> str:
        run = new_run(**fields)
        await self.journal.submit([run])
        return run.row.run_id

    async def claim(self, owner: str = "host-1", *run_ids: str, limit: int = 100, dead: Sequence[str] = ()) -> list[Claim]:
        return await self.journal.claim(owner, limit, run_ids=run_ids, dead=dead, now=tick())

    async def hold(self, owner: str = "host-1", **fields: Any) -> Hand:
        """A run of its own, claimed by `owner` and started."""
        await self.owner(owner)
        run_id = await self.submit(**fields)
        (claim,) = await self.claim(owner, run_id)
        hand = Hand(self.store, claim.row)
        assert await hand.start() is AppendOutcome.COMMITTED
        return hand

    async def append_calls(self, hand: Hand, count: int) -> None:
        """Make a journal longer by `count` events."""
        assert await hand.append(*[(Kind.CALL_FINISHED, {"step": "a", "body": {"n": n}}) for n in range(count)]) is AppendOutcome.COMMITTED

    async def send(self, run_id: str, kind: MessageKind = MessageKind.SIGNAL, *, message_id: str | None = None, **body: Any) -> SendOutcome:
        return await self.journal.send(message(run_id, kind, message_id=message_id, **body))

    async def run(self, run_id: str) -> RunRow:
        row = await self.journal.run(run_id)
        assert row is not None
        return row

    async def kinds(self, run_id: str) -> list[str]:
        return [event.kind.value for event in await self.journal.events(run_id)]
