"""The Schedules on SQL."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from sqlalchemy import Connection

from runtime.schedules.overlap import Overlap
from runtime.store.operations import Work, prepare_run
from runtime.store.protocol import NewRun
from runtime.store.reader import Reader
from runtime.store.schedules import changes, firing, reads
from runtime.store.schedules.protocol import Agenda, Change, Fired, Firing, Gap, ScheduleRow, Standing, Step, TickRow
from runtime.store.writer import Writer

T = TypeVar("T")


class SqlSchedules:
    """Implements `protocol.Schedules`, which documents every method."""

    def __init__(self, writer: Writer, reader: Reader) -> None:
        self._writer = writer
        self._reader = reader

    async def change(self, tenant: str, name: str, edit: Callable[[ScheduleRow | None], Change]) -> ScheduleRow:
        return await self._work(changes.ChangeSchedule(tenant, name, edit))

    async def schedule(self, tenant: str, name: str) -> ScheduleRow | None:
        return await self._reader.read(lambda connection: reads.read_schedule(connection, tenant, name))

    async def schedules(self, tenant: str, *, after: str | None = None, limit: int = 50) -> list[ScheduleRow]:
        return await self._reader.read(lambda connection: reads.list_schedules(connection, tenant, after, limit))

    async def delete(self, tenant: str, name: str, *, if_match: str | None = None) -> bool:
        return await self._work(lambda connection: changes.remove(connection, tenant, name, if_match))

    async def agenda(self, now: int, limit: int) -> Agenda:
        return await self._reader.read(lambda connection: reads.read_agenda(connection, now, limit))

    async def fire(self, wanted: Firing) -> Fired | None:
        run = None if wanted.run is None else prepare_run(wanted.run)
        return await self._work(lambda connection: firing.fire(connection, wanted, run))

    async def pass_over(self, step: Step, gap: Gap) -> bool:
        return await self._work(lambda connection: firing.pass_over(connection, step, gap))

    async def delay(self, step: Step, error: dict[str, Any]) -> bool:
        return await self._work(lambda connection: firing.delay(connection, step, error))

    async def release(self, tick: TickRow, run: NewRun | None, error: dict[str, Any] | None, now: int) -> Fired | None:
        prepared = None if run is None else prepare_run(run)
        return await self._work(lambda connection: firing.release(connection, tick, prepared, error, now))

    async def backfill(self, schedule_id: str, ticks: Sequence[tuple[int, int]], overlap: Overlap, now: int) -> list[TickRow]:
        return await self._work(lambda connection: changes.backfill(connection, schedule_id, ticks, overlap, now))

    async def ticks(self, schedule_id: str, *, before: int | None = None, limit: int = 50) -> list[TickRow]:
        return await self._reader.read(lambda connection: reads.list_ticks(connection, schedule_id, before, limit))

    async def standing(self, schedule_id: str) -> Standing:
        return await self._reader.snapshot(lambda connection: reads.read_standing(connection, schedule_id))

    async def _work(self, function: Callable[[Connection], T]) -> T:
        return await self._writer.write(Work(function))
