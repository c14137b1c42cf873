"""Reads: beside the writer, on connections of their own."""

from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import Connection

from runtime.store.database import Database
from runtime.store.faults import DATABASE_ERRORS, is_spoiled, is_worth_repeating, unavailable

T = TypeVar("T")


class Reader:
    """Runs queries. Each statement sees the latest commit; with `snapshot` all statements of one function see the same."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def snapshot(self, function: Callable[[Connection], T]) -> T:
        """`read` for functions of several statements that must fit together."""

        def steady(connection: Connection) -> T:
            self._database.snapshot(connection)
            return function(connection)

        return await self.read(steady)

    async def read(self, function: Callable[[Connection], T]) -> T:
        """What `function` reads. A connection that had died unseen is replaced once. Raises StoreUnavailable."""
        try:
            return await self._database.run_reader(lambda: self._query(function))
        except DATABASE_ERRORS as error:
            if is_spoiled(error):
                raise
            if not is_worth_repeating(error):
                raise unavailable(unknown=False) from error
        try:
            return await self._database.run_reader(lambda: self._query(function))
        except DATABASE_ERRORS as error:
            raise unavailable(unknown=False) from error

    def _query(self, function: Callable[[Connection], T]) -> T:
        with self._database.reader.connect() as connection:
            return function(connection)
