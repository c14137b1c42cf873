"""The Money on SQL."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from sqlalchemy import Connection

from runtime.money.purse import Answer, Wish
from runtime.store import budgets, ledger
from runtime.store.funds import Release, Reserve
from runtime.store.money_protocol import BudgetRow, UsageQuery, UsageRow
from runtime.store.operations import Work
from runtime.store.reader import Reader
from runtime.store.writer import Writer

T = TypeVar("T")


class SqlMoney:
    """Implements `money_protocol.Money`, which documents every method."""

    def __init__(self, writer: Writer, reader: Reader) -> None:
        self._writer = writer
        self._reader = reader

    async def usage(self, query: UsageQuery) -> list[UsageRow]:
        return await self._reader.read(lambda connection: ledger.totals(connection, query))

    async def put(self, row: BudgetRow) -> BudgetRow:
        return await self._write(lambda connection: budgets.put(connection, row))

    async def remove(self, tenant: str, scope: str, name: str, period: str) -> bool:
        return await self._write(lambda connection: budgets.remove(connection, tenant, scope, name, period))

    async def budgets(self, tenant: str) -> list[BudgetRow]:
        return await self._reader.read(lambda connection: budgets.every(connection, tenant))

    async def budget_of(self, tenant: str, root: str) -> BudgetRow | None:
        return await self._reader.read(lambda connection: budgets.of_run(connection, tenant, root))

    async def named(self) -> Sequence[tuple[str, str, str]]:
        return await self._reader.read(budgets.named)

    async def version(self) -> str:
        return await self._reader.read(budgets.version)

    async def reserve(self, wish: Wish, *, now: int, expires_at: int) -> Answer:
        return await self._writer.write(Reserve(wish, now=now, expires_at=expires_at))

    async def release(self, wish: Wish) -> None:
        return await self._writer.write(Release(wish))

    async def _write(self, function: Callable[[Connection], T]) -> T:
        return await self._writer.write(Work(function))
