"""Mail: what anybody but the owner tells a run. A cancel that meets a run nobody has touched yet ends it on the spot."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection, insert, select, update

from runtime.engine.events import Event, Kind
from runtime.engine.states import RunStatus, run_after
from runtime.store.codec import event_row
from runtime.store.columns import any_of
from runtime.store.held import Held
from runtime.store.operations import Mail, Row
from runtime.store.protocol import MessageKind, SendOutcome
from runtime.store.refs import Refs
from runtime.store.settle import Decisions
from runtime.store.tables import inbox

_KNOWN = select(inbox.c.run_id, inbox.c.message_id).where(any_of(inbox.c.run_id, "ids"), any_of(inbox.c.message_id, "messages"))
_INSERT = insert(inbox)
_DROP = update(inbox).where(any_of(inbox.c.run_id, "ids"), inbox.c.applied_seq.is_(None)).values(applied_seq=0)


@dataclass(slots=True)
class Post:
    """Delivers letters to held runs."""

    held: dict[str, Held]
    decisions: Decisions
    known: set[tuple[str, str]]
    """(run id, message id) of all messages ever accepted, as far as this batch asks."""
    rows: list[Row] = field(default_factory=list)
    events: list[Row] = field(default_factory=list)
    refs: Refs = field(default_factory=list)

    def deliver(self, letter: Mail, tentative: object = None) -> SendOutcome:
        """Accept or refuse one letter. `tentative` is what an earlier, unconfirmed try came to."""
        message = letter.message
        run = self.held.get(message.run_id)
        if run is None:
            return SendOutcome.MISSING
        if (run.run_id, letter.message_id) in self.known:
            return tentative if isinstance(tentative, SendOutcome) else SendOutcome.DUPLICATE
        if run.ended:
            return SendOutcome.ENDED
        if message.kind is MessageKind.APPROVAL:
            accepted = self.decisions.accept(letter)
            if not accepted:
                return SendOutcome.MISSING if accepted is None else SendOutcome.DECIDED
        if message.kind is MessageKind.CANCEL:
            return self._cancel(run, letter)
        if run.epoch > 0:  # a run that has never started reads its mail when it does: mail does not start it early
            run.wake(message.at)
        return self._put(run, letter)

    def _cancel(self, run: Held, letter: Mail) -> SendOutcome:
        at = letter.message.at
        if run.cancel_requested_at is None:
            run.cancel_requested_at, run.changed = at, True
        if run.epoch > 0 or run.owner is not None or run.parent_run is not None:
            # A child is ended by an owner's turn, never here: its parent must be told in the same transaction.
            run.wake(at)
            return self._put(run, letter)
        run.status = run_after(RunStatus(run.status), Kind.RUN_CANCELED).value
        run.head, run.ended_at, run.wake_at, run.waiting_for = run.head + 1, at, None, None
        run.moved = True
        self.events.append(event_row(run.run_id, Event(run.head, run.epoch, Kind.RUN_CANCELED, at, body=letter.message.body or None)))
        self._put(run, letter, applied=run.head)
        return SendOutcome.CANCELED

    def _put(self, run: Held, letter: Mail, applied: int | None = None) -> SendOutcome:
        message = letter.message
        self.known.add((run.run_id, letter.message_id))
        self.refs.extend(letter.refs)
        self.rows.append(
            {
                "run_id": run.run_id,
                "message_id": letter.message_id,
                "kind": message.kind.value,
                "body": letter.body,
                "at": message.at,
                "applied_seq": applied,
            }
        )
        return SendOutcome.ACCEPTED

    def write(self, connection: Connection) -> None:
        if self.rows:
            connection.execute(_INSERT, self.rows)


def drop_unread(connection: Connection, ended: Sequence[str]) -> None:
    """The mail of these runs will never be read: they have ended."""
    if ended:
        connection.execute(_DROP, {"ids": list(ended)})


def open_post(connection: Connection, mail: Sequence[Mail], held: dict[str, Held], decisions: Decisions) -> Post:
    """A post that knows which of these letters were accepted before. Their runs must be held."""
    found: set[tuple[str, str]] = set()
    if mail:
        ids, messages = sorted({letter.message.run_id for letter in mail}), sorted({letter.message_id for letter in mail})
        found = {(run_id, message_id) for run_id, message_id in connection.execute(_KNOWN, {"ids": ids, "messages": messages})}
    return Post(held, decisions, found)
