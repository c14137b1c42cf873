"""Runs locked by the current transaction: read once, changed in memory, written back once."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, select, update

from runtime.engine.states import TERMINAL_RUN
from runtime.store.allot import Lane
from runtime.store.columns import any_of
from runtime.store.tables import runs

_CHANGING = (
    "status",
    "head",
    "owner",
    "waiting_for",
    "wake_at",
    "cancel_requested_at",
    "started_at",
    "ended_at",
    "deaths",
    "result",
    "error",
)
_STAYING = tuple(name for name in _CHANGING if name not in {"owner", "wake_at", "ended_at"})
"""What a turn changes that neither takes, gives up nor ends a run: no index speaks of these columns, so this update is cheap."""
_ENDED = frozenset(status.value for status in TERMINAL_RUN)


@dataclass(slots=True, eq=False)
class Held:
    """The columns of one run that guards look at and writes change."""

    run_id: str
    epoch: int
    parent_run: str | None
    status: str
    head: int
    owner: str | None
    waiting_for: str | None
    wake_at: int | None
    cancel_requested_at: int | None
    started_at: int | None
    ended_at: int | None
    deaths: int
    result: str | None
    error: str | None
    slot_group: str | None
    slot_key: str | None
    slot_held: bool | None
    changed: bool = False
    moved: bool = False
    """Whether owner, wake_at or ended_at has changed as well."""

    @property
    def lane(self) -> Lane | None:
        """Whose slot this run has or waits for; None when it has no limits."""
        return None if self.slot_group is None else (self.slot_group, self.slot_key or "")

    @property
    def ended(self) -> bool:
        return self.status in _ENDED

    def wake(self, at: int) -> None:
        """Let somebody claim the run at `at`, unless it is owned or will be claimed earlier anyway."""
        if self.owner is None and (self.wake_at is None or self.wake_at > at):
            self.wake_at = at
            self.changed = self.moved = True

    def values(self) -> dict[str, Any]:
        return {
            "b_run_id": self.run_id,
            "status": self.status,
            "head": self.head,
            "owner": self.owner,
            "waiting_for": self.waiting_for,
            "wake_at": self.wake_at,
            "cancel_requested_at": self.cancel_requested_at,
            "started_at": self.started_at,
            "ended_at": self.ended_at,
            "deaths": self.deaths,
            "result": self.result,
            "error": self.error,
        }


# One order of locking for everybody: no deadlocks between appends. SQLite ignores FOR NO KEY UPDATE: it holds one lock for all.
_HOLD = (
    select(*(runs.c[name] for name in ("run_id", "epoch", "parent_run", *_CHANGING, "slot_group", "slot_key", "slot_held")))
    .where(any_of(runs.c.run_id, "ids"))
    .order_by(runs.c.run_id)
    .with_for_update(key_share=True)
)
_UPDATE = update(runs).where(runs.c.run_id == bindparam("b_run_id"))
_MOVE = _UPDATE.values({name: bindparam(name) for name in _CHANGING})
_STAY = _UPDATE.values({name: bindparam(name) for name in _STAYING})


def hold(connection: Connection, run_ids: Iterable[str]) -> dict[str, Held]:
    """Lock these runs, in one fixed order, until the end of the transaction."""
    ids = sorted(set(run_ids))
    return {row[0]: Held(*row) for row in connection.execute(_HOLD, {"ids": ids}).all()} if ids else {}


def write_back(connection: Connection, held: Iterable[Held]) -> None:
    """Write what has changed."""
    moved: list[dict[str, Any]] = []
    stayed: list[dict[str, Any]] = []
    for run in held:
        if run.changed:
            (moved if run.moved else stayed).append(run.values())
    if moved:
        connection.execute(_MOVE, moved)
    if stayed:
        connection.execute(_STAY, [{name: row[name] for name in ("b_run_id", *_STAYING)} for row in stayed])
