"""One batch, one transaction: carry it out, and find out what became of it when COMMIT is not answered."""

import time
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection

from runtime import failpoints
from runtime.errors import AgenticError
from runtime.store.claims import take_runs
from runtime.store.database import Database
from runtime.store.faults import DATABASE_ERRORS, blame, is_spoiled, is_worth_repeating, unavailable
from runtime.store.operations import Beat, Deliver, LookAround, Operation, SubmitRuns, TakeRuns, Work, WriteTurn
from runtime.store.owners import beat_owners
from runtime.store.points import pass_points
from runtime.store.slots import Slots
from runtime.store.submits import check_referred, submit_runs
from runtime.store.till import move_funds
from runtime.store.turns import change_runs, open_runs

_RETRY_DELAY = 0.05
"""Seconds between two questions about an unknown outcome."""


class _Unconfirmed(Exception):
    """COMMIT was sent and not answered: the batch is on disk, or it is not."""


def execute(connection: Connection, batch: Sequence[Operation[Any]]) -> list[str]:
    """Carry out a batch inside the current transaction and set each operation's outcome. Returns the runs that slots brought news to.

    The order is the order of locks: keys, runs by id, budgets, owners, groups of slots. Claims skip what is locked, and beats and slots come
    last, so that no two processes wait for each other.
    """
    slots = Slots()
    submits = [each for each in batch if isinstance(each, SubmitRuns)]
    submit_runs(connection, submits, slots)
    change_runs(connection, [each for each in batch if isinstance(each, WriteTurn)], [each for each in batch if isinstance(each, Deliver)], slots)
    claims = [each for each in batch if isinstance(each, TakeRuns)]
    take_runs(connection, claims)
    open_runs(connection, claims, slots)
    move_funds(connection, batch)
    for work in (each for each in batch if isinstance(each, Work)):
        try:
            work.outcome = work.function(connection)
        except AgenticError as error:
            work.outcome = error
    beat_owners(connection, [each for each in batch if isinstance(each, Beat)])
    looks = [each for each in batch if isinstance(each, LookAround)]
    slots.look_at(group for look in looks for group in look.groups)
    slots.settle(connection)
    check_referred(submits, slots.refused)
    for look in looks:
        look.outcome = slots.news
    return slots.news


def commit(database: Database, batch: Sequence[Operation[Any]]) -> list[str]:
    """Set every operation's outcome to what is on disk: its value, or the error it ends with. Never raises for the database.

    Returns runs that got a slot or a message because of others: hints, which may be lost.
    """
    deadline, tries = None, 0
    while True:
        tries += 1
        try:
            return _attempt(database, batch)
        except _Unconfirmed:
            for operation in batch:
                operation.tentative = operation.outcome
            deadline = deadline or time.monotonic() + database.patience
        except Exception as error:  # noqa: BLE001 - whatever one operation raises must not take the others with it
            if is_spoiled(error) and (len(batch) > 1 or tries > 1 or isinstance(error, AgenticError)):
                return _one_by_one(database, batch, error)
            if deadline is None and (tries > 2 or not (is_worth_repeating(error) or is_spoiled(error))):
                return _fail(batch, unknown=False)
        if deadline is not None and tries > 1 and time.monotonic() >= deadline:
            return _fail(batch, unknown=True)
        database.pause(_RETRY_DELAY if deadline is not None else 0)


def _attempt(database: Database, batch: Sequence[Operation[Any]]) -> list[str]:
    with database.turn(), database.writer.connect() as connection:
        transaction = connection.begin()
        try:
            news = execute(connection, batch)
            if failpoints.ARMED:
                pass_points(batch, "before_commit")
        except DATABASE_ERRORS:
            connection.invalidate()
            raise
        try:
            transaction.commit()
            if failpoints.ARMED:
                pass_points(batch, "after_commit")
        except Exception as error:
            connection.invalidate()
            raise _Unconfirmed from error
    return news


def _one_by_one(database: Database, batch: Sequence[Operation[Any]], error: Exception) -> list[str]:
    if len(batch) == 1:
        batch[0].outcome = blame(batch[0], error)
        return []
    return [run_id for operation in batch for run_id in commit(database, [operation])]


def _fail(batch: Sequence[Operation[Any]], *, unknown: bool) -> list[str]:
    for operation in batch:
        operation.outcome = unavailable(unknown=unknown)
    return []
