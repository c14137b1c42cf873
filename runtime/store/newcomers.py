"""Runs with limits that are about to be inserted: each gets a slot, waits, makes an older one go, or is turned away."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection, bindparam, delete, insert, select, text

from runtime.engine.events import Event, Kind
from runtime.engine.states import RunStatus
from runtime.errors import ConcurrencyLimit
from runtime.store.allot import Lane, Tally, Waiting, allot
from runtime.store.codec import event_row, plain_text
from runtime.store.columns import any_of
from runtime.store.held import hold, write_back
from runtime.store.inserts import insert_runs
from runtime.store.mail import drop_unread, open_post
from runtime.store.operations import Mail, PreparedRun, SubmitRuns, prepare_mail
from runtime.store.outbox import announce
from runtime.store.protocol import Message, MessageKind
from runtime.store.refs import note_refs
from runtime.store.settle import Decisions
from runtime.store.tables import HOLDING, LINED_UP, events, idem, runs

RETRY_AFTER_SECONDS = 5
"""Nobody knows when a run will end; this is often enough to ask."""
NO_SLOT = "the workflow's limit of concurrency is reached"
MADE_ROOM = "a newer run took its place (concurrency: cancel_old)"

_COLUMNS = (runs.c.created_at, runs.c.run_id, runs.c.slot_group, runs.c.slot_key)
_IN_GROUP = (any_of(runs.c.slot_group, "groups"), runs.c.cancel_requested_at.is_(None))
_HOLDERS = select(*_COLUMNS).where(*_IN_GROUP, text(HOLDING))
_REPLACING = select(*_COLUMNS).where(*_IN_GROUP, text(LINED_UP), runs.c.slot_on_limit == "cancel_old")
_FORGET_KEY = delete(idem).where(idem.c.tenant == bindparam("b_tenant"), idem.c.key == bindparam("b_key"), idem.c.run_id == bindparam("b_run_id"))
_INSERT_EVENT = insert(events)


@dataclass(slots=True, eq=False)
class Newcomer:
    """A run to insert. Without limits (`lane` None) it only shares the fate of its submit."""

    run: PreparedRun
    operation: SubmitRuns | None = None
    held: bool = False
    refused: bool = False
    canceled: bool = False

    @property
    def lane(self) -> Lane | None:
        row = self.run.new.row
        return None if row.slot_group is None else (row.slot_group, row.slot_key or "")

    @property
    def waiting(self) -> Waiting:
        row = self.run.new.row
        return Waiting(row.run_id, self.lane or ("", ""), row.slot_limit, row.slot_per_key, row.priority, row.created_at)

    @property
    def on_limit(self) -> str | None:
        return self.run.new.row.slot_on_limit

    @property
    def at(self) -> int:
        return self.run.new.row.created_at

    @property
    def lines_up(self) -> bool:
        return self.lane is not None and not (self.held or self.refused or self.canceled)


def place(connection: Connection, newcomers: Sequence[Newcomer], tally: Tally, news: list[str]) -> list[Lane]:
    """Insert the newcomers, as far as they are let in. Returns the lanes of runs that had a slot and were ended for them, not yet started."""
    if not newcomers:
        return []
    admit(newcomers, tally)
    victims = _make_room(connection, newcomers, tally)
    let_in = [_as_decided(each) for each in newcomers if not each.refused]
    insert_runs(connection, [run for run in let_in if run.limited])
    insert_runs(connection, [run for run in let_in if not run.limited])
    announce(connection, [run.events[-1] for run in let_in if run.row["status"] == RunStatus.CANCELED.value], lambda _: RunStatus.CANCELED.value)
    _turn_away(connection, [each for each in newcomers if each.refused])
    letters = [*victims, *(_to_parent(each) for each in newcomers if (each.refused or each.canceled) and each.run.new.row.parent_run)]
    return _deliver(connection, letters, news)


def admit(newcomers: Sequence[Newcomer], tally: Tally) -> None:
    """Decide who of the newcomers has a slot, who is refused and who is canceled. A submit of several runs is let in whole or not at all."""
    alone = {id(each.operation) for each in newcomers if each.operation is None or len(each.operation.runs) == 1}
    while True:
        trial = tally.copy()
        rivals = {each.run.new.row.run_id: each for each in newcomers if each.lane is not None and not each.refused}
        chosen = {run.run_id for run in allot((each.waiting for each in rivals.values()), trial)}
        without = [each for run_id, each in rivals.items() if run_id not in chosen and each.on_limit == "reject"]
        whole = next((each.operation for each in without if id(each.operation) not in alone), None)
        if whole is None:
            break
        for each in newcomers:
            each.refused = each.refused or each.operation is whole
    for each in without:
        each.refused = True
    for run_id, each in rivals.items():
        each.held = run_id in chosen
        each.canceled = not each.held and each.on_limit == "cancel_new"
    tally.groups, tally.lanes = trial.groups, trial.lanes


def _make_room(connection: Connection, newcomers: Sequence[Newcomer], tally: Tally) -> list[Mail]:
    """For each newcomer that has no slot and wants the oldest to go: the cancel of the oldest that nobody has canceled yet."""
    pushing = [each for each in newcomers if each.lines_up and each.on_limit == "cancel_old"]
    if not pushing:
        return []
    groups = sorted({each.lane[0] for each in pushing if each.lane is not None})
    found = [tuple(row) for statement in (_HOLDERS, _REPLACING) for row in connection.execute(statement, {"groups": groups})]
    pool: list[tuple[str, Lane, Newcomer | None]] = [(run_id, (group, key), None) for _at, run_id, group, key in sorted(found)]
    letters: list[Mail] = []
    for each in newcomers:
        if each in pushing and each.lane is not None:
            victim = _oldest(pool, each.waiting, tally)
            if victim is not None:
                pool.remove(victim)
                run_id, lane, fresh = victim
                if fresh is None:
                    letters.append(prepare_mail(Message(run_id, "cancel", MessageKind.CANCEL, {"reason": MADE_ROOM}, each.at)))
                else:
                    _replace(fresh, each, lane, tally)
        if each.lane is not None and (each.held or each in pushing):
            pool.append((each.run.new.row.run_id, each.lane, each))
    return letters


def _oldest(pool: Iterable[tuple[str, Lane, Newcomer | None]], run: Waiting, tally: Tally) -> tuple[str, Lane, Newcomer | None] | None:
    """The oldest run that stands in this one's way: of its key when that is full, else of its group."""
    full = run.per_key is not None and tally.lanes[run.lane] >= run.per_key
    return next((each for each in pool if (each[1] == run.lane if full else each[1][0] == run.lane[0])), None)


def _replace(old: Newcomer, new: Newcomer, lane: Lane, tally: Tally) -> None:
    """Of two that come together, the later one stays."""
    if old.held and new.lane is not None:
        old.held, new.held = False, True
        tally.add(lane, -1)
        tally.add(new.lane)
    old.canceled = True


def _as_decided(newcomer: Newcomer) -> PreparedRun:
    """The rows to insert, and what the submitter hears. What was prepared stays as it is: the transaction may have to be tried again."""
    run, operation = newcomer.run, newcomer.operation
    if newcomer.lane is None:
        return run
    row = {**run.row, "slot_held": newcomer.held, "ended_at": None, "wake_at": run.row["wake_at"] if newcomer.held else None}
    events = run.events
    if newcomer.canceled:
        row |= {"status": RunStatus.CANCELED.value, "head": row["head"] + 1, "ended_at": newcomer.at}
        reason = NO_SLOT if newcomer.on_limit == "cancel_new" else MADE_ROOM
        end = Event(row["head"], 0, Kind.RUN_CANCELED, newcomer.at, body={"reason": reason})
        events = [*run.events, event_row(row["run_id"], end)]
    if operation is not None and isinstance(operation.outcome, list) and not newcomer.held:
        operation.outcome = [replace(each, waiting=True) if each.run_id == row["run_id"] else each for each in operation.outcome]
    return PreparedRun(run.new, row, events, run.labels, run.refs)


def _turn_away(connection: Connection, refused: Sequence[Newcomer]) -> None:
    """Tell those who submitted them, and give the keys back: a later try is a new one."""
    keys = []
    for each in refused:
        row, idempotency = each.run.new.row, each.run.new.idempotency
        if idempotency is not None:
            keys.append({"b_tenant": row.tenant, "b_key": plain_text(idempotency.key), "b_run_id": row.run_id})
        if each.operation is not None:
            each.operation.outcome = refusal()
    if keys:
        connection.execute(_FORGET_KEY, keys)


def refusal() -> ConcurrencyLimit:
    """What a submitter hears whose run is not let in."""
    return ConcurrencyLimit(f"{NO_SLOT}, and it refuses further runs", retry_after=RETRY_AFTER_SECONDS)


def _to_parent(newcomer: Newcomer) -> Mail:
    """A child that was not let in, or had to go at once, has ended as far as its parent is concerned."""
    row, body = newcomer.run.new.row, newcomer.run.new.events[0].body or {}
    origin = body["parent"]
    error = {"code": ConcurrencyLimit.code, "message": NO_SLOT if newcomer.on_limit != "cancel_old" else MADE_ROOM, "retryable": newcomer.refused}
    status = RunStatus.FAILED if newcomer.refused else RunStatus.CANCELED
    told = {"run_id": row.run_id, "step": origin["step"], "index": origin.get("index"), "status": status.value, "output": None, "error": error}
    return prepare_mail(Message(origin["run_id"], f"child:{row.run_id}", MessageKind.CHILD, told, newcomer.at))


def _deliver(connection: Connection, letters: Sequence[Mail], news: list[str]) -> list[Lane]:
    """Put letters into inboxes under the runs' locks. Returns the lanes of the slots whose runs a cancel has ended on the spot."""
    if not letters:
        return []
    held = hold(connection, [letter.message.run_id for letter in letters])
    decisions = Decisions({})
    post = open_post(connection, letters, held, decisions)
    for letter in letters:
        post.deliver(letter)
    if post.events:
        connection.execute(_INSERT_EVENT, post.events)
        announce(connection, post.events, lambda run_id: held[run_id].status)
    note_refs(connection, post.refs)
    post.write(connection)
    ended = [run for run in held.values() if run.changed and run.ended]
    drop_unread(connection, [run.run_id for run in ended])
    write_back(connection, held.values())
    news += held
    return [run.lane for run in ended if run.lane is not None and run.slot_held]
