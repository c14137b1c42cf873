"""Putting every stored secret under the first SECRET_KEY, so that the others may go: `agentic db rewrap`."""

from collections import Counter
from collections.abc import Iterator

from sqlalchemy import Connection, Table, select, update

from runtime.errors import SecretUnreadable
from runtime.secrets import Place, SecretBox
from runtime.store.open import Store
from runtime.store.operations import Work
from runtime.store.tables import endpoints, hooks

_WHERE = ((endpoints, "endpoint", "endpoint_id", ("secret", "previous_secret")), (hooks, "hook", "hook_id", ("secret",)))
"""(table, purpose of its secrets, its key, columns with envelopes)"""


async def rewrap(store: Store, box: SecretBox) -> Counter[str]:
    """Rewrap what is not yet under the first key. Counts what was `changed`, was `right` already, and is `unreadable` with these keys."""
    counts: Counter[str] = await store.writer.write(Work(lambda connection: Counter(_rewrapped(connection, box))))
    return counts


def _rewrapped(connection: Connection, box: SecretBox) -> Iterator[str]:
    for table, purpose, key, names in _WHERE:
        for name in names:
            for row, tenant, envelope in connection.execute(select(table.c[key], table.c.tenant, table.c[name]).where(table.c[name].is_not(None))).all():
                try:
                    fresh = box.rewrap(envelope, Place(tenant, purpose, row))
                except SecretUnreadable:
                    yield "unreadable"
                    continue
                yield _put(connection, table, key, row, name, envelope, fresh)


def _put(connection: Connection, table: Table, key: str, row: str, name: str, envelope: str, fresh: str) -> str:
    if fresh == envelope:
        return "right"
    connection.execute(update(table).where(table.c[key] == row, table.c[name] == envelope).values({name: fresh}))
    return "changed"
