"""The Journal on SQL."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from sqlalchemy import Connection

from runtime.engine.events import Event
from runtime.store import lines, owners, queries
from runtime.store.operations import Beat, Deliver, LookAround, SubmitRuns, TakeRuns, Wanted, Work, WriteTurn
from runtime.store.protocol import (
    Append,
    AppendOutcome,
    ApprovalQuery,
    ApprovalRow,
    Claim,
    Message,
    NewRun,
    OwnerRow,
    Removal,
    RunQuery,
    RunRow,
    SendOutcome,
    Submitted,
)
from runtime.store.reader import Reader
from runtime.store.removal import clear_portion, remove_run
from runtime.store.writer import Writer

T = TypeVar("T")


class SqlJournal:
    """Implements `protocol.Journal`, which documents every method."""

    def __init__(self, writer: Writer, reader: Reader) -> None:
        self._writer = writer
        self._reader = reader

    async def submit(self, runs: Sequence[NewRun]) -> list[Submitted]:
        return await self._writer.write(SubmitRuns(runs))

    async def claim(
        self,
        owner: str,
        limit: int,
        *,
        run_ids: Sequence[str] = (),
        dead: Sequence[str] = (),
        shared: bool = False,
        fair: bool = False,
        now: int,
        first: Callable[[Claim], Append | None] | None = None,
    ) -> list[Claim]:
        return await self._writer.write(TakeRuns(Wanted(owner, limit, tuple(run_ids), tuple(dead), now, shared=shared, fair=fair), first))

    async def append(self, append: Append) -> AppendOutcome:
        return await self._writer.write(WriteTurn(append))

    async def send(self, message: Message) -> SendOutcome:
        return await self._writer.write(Deliver(message))

    async def grant_slots(self) -> list[str]:
        groups = await self._reader.read(lines.unserved)
        return await self._writer.write(LookAround(groups)) if groups else []

    def on_news(self, tell: Callable[[Sequence[str]], None]) -> None:
        self._writer.listeners.append(tell)

    async def place_in_line(self, run_id: str) -> int | None:
        return await self._reader.read(lambda connection: lines.place_in_line(connection, run_id))

    async def register(self, owner: OwnerRow, *, suspects: Sequence[str] = ()) -> None:
        await self._work(lambda connection: owners.register(connection, owner, suspects))

    async def beat(self, owner: str, *, draining: bool = False) -> bool:
        return await self._writer.write(Beat(owner, draining=draining))

    async def bury(self, owners_: Sequence[str], *, now: int) -> int:
        return await self._work(lambda connection: owners.bury(connection, owners_, now))

    async def inbox(self, owner: str) -> list[Message]:
        return await self._reader.read(lambda connection: queries.inbox_of(connection, owner))

    async def events(self, run_id: str, after: int = 0, limit: int = 1000) -> list[Event]:
        return await self._reader.read(lambda connection: queries.read_events(connection, run_id, after, limit))

    async def run(self, run_id: str) -> RunRow | None:
        return await self._reader.read(lambda connection: queries.read_run(connection, run_id))

    async def runs(self, query: RunQuery) -> list[RunRow]:
        return await self._reader.read(lambda connection: queries.list_runs(connection, query))

    async def approvals(self, query: ApprovalQuery) -> list[ApprovalRow]:
        return await self._reader.read(lambda connection: queries.list_approvals(connection, query))

    async def approval(self, approval_id: str) -> ApprovalRow | None:
        return await self._reader.read(lambda connection: queries.read_approval(connection, approval_id))

    async def owners(self) -> list[OwnerRow]:
        return await self._reader.read(owners.read_owners)

    async def active_runs(self) -> int:
        return await self._reader.read(queries.count_active)

    async def remove(self, run_id: str) -> Removal:
        outcome: Removal = await self._work(lambda connection: remove_run(connection, run_id))
        left = int(outcome is Removal.REMOVED)
        while left:
            left = await self._work(lambda connection: clear_portion(connection, [run_id]))
        return outcome

    async def _work(self, function: Callable[[Connection], T]) -> T:
        return await self._writer.write(Work(function))
