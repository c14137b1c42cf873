"""Which runs may go: found by an index over ended runs, oldest end first, so that a round never looks at the whole table."""

from dataclasses import dataclass
from heapq import merge
from itertools import islice

from sqlalchemy import Connection, bindparam, func, select, tuple_

from runtime.store.removal import FREE
from runtime.store.tables import runs

_FIELDS = (runs.c.run_id, runs.c.status, runs.c.ended_at, runs.c.head)
_OWN_TIMES = select(func.min(runs.c.keep_for)).where(runs.c.keep_for > bindparam("above"), runs.c.ended_at.is_not(None))
_START = (-1, "")


@dataclass(frozen=True, slots=True)
class Rule:
    """Runs that ended in this state before `before` (ms). `keep_for` (ms) is their own retention; None: those that have none."""

    status: str
    before: int
    keep_for: int | None = None
    workflow: str | None = None
    """Only of this workflow, of any tenant."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A run that may go; `head` is the number of its events."""

    run_id: str
    status: str
    ended_at: int
    head: int

    @property
    def place(self) -> tuple[int, str]:
        """Where it stands among its like: what a next page begins after."""
        return self.ended_at, self.run_id


def own_times(connection: Connection) -> list[int]:
    """The different retentions (ms) that ended runs have of their own: few, found by jumping along the index."""
    found: list[int] = []
    while (value := connection.scalar(_OWN_TIMES, {"above": found[-1] if found else -1})) is not None:
        found.append(value)
    return found


def find(connection: Connection, rule: Rule, after: tuple[int, str] = _START, limit: int = 100) -> list[Candidate]:
    """A page of runs the rule lets go, oldest end first, from the one after `after`. Runs that another run needs are left out."""
    own = runs.c.keep_for.is_(None) if rule.keep_for is None else runs.c.keep_for == rule.keep_for
    later = tuple_(runs.c.ended_at, runs.c.run_id) > tuple_(*after)
    found = select(*_FIELDS).where(own, runs.c.status == rule.status, runs.c.ended_at < rule.before, later, *FREE)
    if rule.workflow is not None:
        found = found.where(runs.c.workflow == rule.workflow)
    return [Candidate(*row) for row in connection.execute(found.order_by(runs.c.ended_at, runs.c.run_id).limit(limit))]


def oldest(connection: Connection, rules: list[Rule], limit: int = 100) -> list[Candidate]:
    """The `limit` runs that ended longest ago of all that any of the rules lets go."""
    pages = [find(connection, rule, limit=limit) for rule in rules]
    return list(islice(merge(*pages, key=lambda candidate: candidate.place), limit))
