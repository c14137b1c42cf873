"""Every envelope of the database, wherever it stands: whether the present keys open it, and what is done with those that stay shut."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from sqlalchemy import ColumnElement, Connection, Table, delete, select, update

from runtime.errors import SecretUnreadable
from runtime.secrets import Place, SecretBox, open_box
from runtime.settings import Settings
from runtime.store.key_protocol import PURPOSE
from runtime.store.open import Store
from runtime.store.operations import Work
from runtime.store.tables import endpoints, hooks, settings

NAMED = 5
"""So many secrets are named in an error; the others are counted."""


@dataclass(frozen=True, slots=True)
class Shelf:
    """A column that holds envelopes, and what is bound into them: whose they are, what they are for, which row holds them."""

    table: Table
    purpose: str
    tenant: str
    row: str
    column: str
    until: str | None = None
    """Names the column that says until when (ms) they are needed; None: for as long as they are there."""


SHELVES = (
    Shelf(endpoints, "endpoint", "tenant", "endpoint_id", "secret"),
    Shelf(endpoints, "endpoint", "tenant", "endpoint_id", "previous_secret", until="previous_until"),
    Shelf(hooks, "hook", "tenant", "hook_id", "secret"),
    Shelf(settings, PURPOSE, "user_id", "provider", "encrypted_value"),
)


@dataclass(frozen=True, slots=True)
class Sealed:
    """One envelope and where it stands."""

    shelf: Shelf
    tenant: str
    row: str
    envelope: str = field(repr=False)
    until: int | None = None

    @property
    def place(self) -> Place:
        """Where it opens."""
        return Place(self.tenant, self.shelf.purpose, self.row)

    @property
    def title(self) -> str:
        """What a person calls it."""
        return f"{self.shelf.purpose} {self.row} of tenant {self.tenant}"


@dataclass(frozen=True, slots=True)
class Shut:
    """A secret that is needed and does not open, and why."""

    sealed: Sealed
    reason: str


async def checked_box(store: Store, wanted: Settings, now: int) -> SecretBox:
    """The box of these settings, once it is clear that it opens every secret of the database.

    Raises SecretUnreadable, and changes nothing: a process with a wrong key must not begin.
    """
    box = open_box(wanted)
    found = await shut(store, box, now)
    if found:
        raise SecretUnreadable(_refusal(found))
    return box


async def shut(store: Store, box: SecretBox, now: int) -> list[Shut]:
    """What does not open with these keys, of all that is needed at `now` (ms)."""
    envelopes = await store.reader.read(lambda connection: list(every(connection)))
    needed = [sealed for sealed in envelopes if sealed.shelf.until is None or (sealed.until or 0) > now]
    return [Shut(sealed, reason) for sealed in needed if (reason := _reason(box, sealed)) is not None]


async def rewrap(store: Store, box: SecretBox) -> Counter[str]:
    """Put every stored secret under the first SECRET_KEY, so that the others may go.

    Counts what was `changed`, was `right` already, and is `unreadable` with these keys.
    """
    return await store.writer.write(Work(lambda connection: Counter(_rewrapped(connection, box))))


async def discard(store: Store, box: SecretBox, now: int) -> list[Shut]:
    """Delete the endpoints, hooks and provider keys whose secrets nobody can open any more. Returns what went.

    For keys that are lost for good, and only because somebody asked for it.
    """
    found = await shut(store, box, now)
    await store.writer.write(Work(lambda connection: _removed(connection, found)))
    return found


def every(connection: Connection) -> Iterator[Sealed]:
    """All envelopes."""
    for shelf in SHELVES:
        held = shelf.table.c[shelf.column]
        wanted = [shelf.table.c[name] for name in (shelf.tenant, shelf.row, shelf.column, *([shelf.until] if shelf.until else ()))]
        for row in connection.execute(select(*wanted).where(held.is_not(None))).all():
            yield Sealed(shelf, *row)


def _reason(box: SecretBox, sealed: Sealed) -> str | None:
    try:
        box.open(sealed.envelope, sealed.place)
    except SecretUnreadable as error:
        return str(error)
    return None


def _rewrapped(connection: Connection, box: SecretBox) -> Iterator[str]:
    for sealed in list(every(connection)):
        try:
            fresh = box.rewrap(sealed.envelope, sealed.place)
        except SecretUnreadable:
            yield "unreadable"
            continue
        if fresh == sealed.envelope:
            yield "right"
            continue
        connection.execute(update(sealed.shelf.table).where(*_exactly(sealed)).values({sealed.shelf.column: fresh}))
        yield "changed"


def _removed(connection: Connection, found: list[Shut]) -> None:
    for sealed in (each.sealed for each in found):
        table, only_second = sealed.shelf.table, sealed.shelf.until is not None
        gone = update(table).values({sealed.shelf.column: None}) if only_second else delete(table)
        connection.execute(gone.where(*_exactly(sealed)))


def _exactly(sealed: Sealed) -> tuple[ColumnElement[bool], ...]:
    """The row as it was read: one that somebody has set anew meanwhile is another one."""
    columns, shelf = sealed.shelf.table.c, sealed.shelf
    return (columns[shelf.tenant] == sealed.tenant, columns[shelf.row] == sealed.row, columns[shelf.column] == sealed.envelope)


def _refusal(found: list[Shut]) -> str:
    named = "; ".join(f"{each.sealed.title}: {each.reason}" for each in found[:NAMED])
    more = f"; and {len(found) - NAMED} more" if len(found) > NAMED else ""
    return (
        f"{len(found)} stored secrets cannot be opened with this SECRET_KEY, so nothing was started and nothing was changed. "
        "Set SECRET_KEY (or <home>/secret-key) to the key they were encrypted with, or to `new,old` to change it. "
        f"If that key is lost for good, `agentic secrets discard` deletes what needs it. {named}{more}"
    )
