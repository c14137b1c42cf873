"""What a failure of the database means: wait and try again, give up, or look for the one operation that is at fault."""

import sqlite3

import asyncpg
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, InvalidRequestError, OperationalError, ProgrammingError, SQLAlchemyError

from runtime.errors import AgenticError, Conflict, InvalidTransition, StoreUnavailable
from runtime.store.operations import Operation, WriteTurn

_AGAIN = frozenset({"40001", "40P01"})
"""SQLSTATE of a serialisation failure and of a deadlock: the server has rolled back and asks to be asked again."""

DATABASE_ERRORS = (SQLAlchemyError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError)
"""Everything that means the database, not the caller: SQLAlchemy's errors, and asyncpg's while it connects."""


def is_spoiled(error: BaseException) -> bool:
    """Whether one operation of the batch is at fault, so that the others can still be carried out."""
    if isinstance(error, OperationalError) and getattr(error.orig, "sqlite_errorcode", None) == sqlite3.SQLITE_ERROR:
        return True  # SQLite's word for a statement that is wrong; the driver has no class of its own for it
    return isinstance(error, IntegrityError | DataError | ProgrammingError | InvalidRequestError) or not isinstance(error, DATABASE_ERRORS)


def is_worth_repeating(error: BaseException) -> bool:
    """Whether the same transaction may succeed at once: a connection that had died unseen, a deadlock."""
    if isinstance(error, DBAPIError):
        return bool(error.connection_invalidated) or getattr(error.orig, "sqlstate", None) in _AGAIN
    return isinstance(error, ConnectionError)


def unavailable(*, unknown: bool) -> StoreUnavailable:
    """The error callers see when the database does not do its part."""
    if unknown:
        return StoreUnavailable("the database did not confirm the commit and cannot be asked; the outcome is not known", retry_after=1)
    return StoreUnavailable("the database does not answer or is full; nothing was changed", retry_after=1)


def blame(operation: Operation[object], error: Exception) -> Exception:
    """The error of an operation that fails on its own. A hit of the second net under `append` is a broken invariant."""
    if isinstance(error, AgenticError) or not isinstance(error, IntegrityError):
        return error
    if isinstance(operation, WriteTurn):
        run_id = operation.append.run_id
        return InvalidTransition("the events repeat an end or an attempt that the journal already has", run_id=run_id)
    return Conflict("it exists already")
