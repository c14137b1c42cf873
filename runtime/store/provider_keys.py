"""Provider keys as rows of the table `settings`."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from sqlalchemy import Connection, and_, bindparam, case, delete, func, select
from sqlalchemy.dialects.postgresql import insert as upsert

from runtime.store.key_protocol import ProviderKeyRow
from runtime.store.operations import Work
from runtime.store.reader import Reader
from runtime.store.tables import settings
from runtime.store.writer import Writer

T = TypeVar("T")

_COLUMNS = {"id": "id", "tenant": "user_id", "provider": "provider", "envelope": "encrypted_value", "created_at": "created_at", "updated_at": "updated_at"}
"""Field of a row → column."""
_ROWS = select(*(settings.c[column] for column in _COLUMNS.values()))
_THIS = and_(settings.c.user_id == bindparam("b_tenant"), settings.c.provider == bindparam("b_provider"))
_ADD = upsert(settings)
_LATER = case((_ADD.excluded.updated_at > settings.c.updated_at, _ADD.excluded.updated_at), else_=settings.c.updated_at + 1)
"""Later than before whatever the clocks say: `version` sees a change by it."""
_PUT = _ADD.on_conflict_do_update(
    index_elements=["user_id", "provider"],
    set_={"encrypted_value": _ADD.excluded.encrypted_value, "updated_at": _LATER},
    # The same envelope again comes from a try whose COMMIT was not confirmed.
    where=settings.c.encrypted_value != _ADD.excluded.encrypted_value,
)
_VERSION = select(func.count(), func.coalesce(func.sum(settings.c.updated_at), 0)).select_from(settings)


class SqlProviderKeys:
    """Implements `key_protocol.ProviderKeys`, which documents every method."""

    def __init__(self, writer: Writer, reader: Reader) -> None:
        self._writer = writer
        self._reader = reader

    async def put(self, row: ProviderKeyRow) -> ProviderKeyRow:
        return await self._work(lambda connection: put(connection, row))

    async def key(self, tenant: str, provider: str) -> ProviderKeyRow | None:
        return await self._reader.read(lambda connection: read(connection, tenant, provider))

    async def keys(self, tenant: str) -> list[ProviderKeyRow]:
        return await self._reader.read(lambda connection: every(connection, tenant))

    async def remove(self, tenant: str, provider: str) -> bool:
        return await self._work(lambda connection: remove(connection, tenant, provider))

    async def version(self) -> str:
        return await self._reader.read(version)

    async def _work(self, function: Callable[[Connection], T]) -> T:
        return await self._writer.write(Work(function))


def put(connection: Connection, row: ProviderKeyRow) -> ProviderKeyRow:
    """The row as it is then."""
    connection.execute(_PUT, {column: getattr(row, field) for field, column in _COLUMNS.items()})
    return read(connection, row.tenant, row.provider) or row


def read(connection: Connection, tenant: str, provider: str) -> ProviderKeyRow | None:
    row = connection.execute(_ROWS.where(_THIS), _this(tenant, provider)).first()
    return None if row is None else _row(row)


def every(connection: Connection, tenant: str) -> list[ProviderKeyRow]:
    """By provider."""
    return [_row(row) for row in connection.execute(_ROWS.where(settings.c.user_id == tenant).order_by(settings.c.provider))]


def remove(connection: Connection, tenant: str, provider: str) -> bool:
    """Whether there was one."""
    return connection.execute(delete(settings).where(_THIS), _this(tenant, provider)).rowcount > 0


def version(connection: Connection) -> str:
    """Count and sum of times: whatever is added, changed or removed moves one of them."""
    count, total = connection.execute(_VERSION).one()
    return f"{count}-{total}"


def _this(tenant: str, provider: str) -> dict[str, str]:
    return {"b_tenant": tenant, "b_provider": provider}


def _row(row: Sequence[Any]) -> ProviderKeyRow:
    return ProviderKeyRow(*row)
