"""Workflows and their versions: a version is content, `current` is a pointer to one."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, and_, bindparam, func, insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from runtime.errors import Conflict, VersionChanged
from runtime.store.catalog_protocol import DefinitionRow
from runtime.store.codec import from_text, to_text
from runtime.store.tables import definitions, workflows

_FIELDS = tuple(DefinitionRow.__dataclass_fields__)
_VERSIONS = select(*(definitions.c[name] for name in _FIELDS))
_IS_CURRENT = and_(
    workflows.c.tenant == definitions.c.tenant, workflows.c.workflow == definitions.c.workflow, workflows.c.definition == definitions.c.definition
)
_CURRENT = _VERSIONS.join(workflows, _IS_CURRENT).where(workflows.c.tenant == bindparam("tenant"), workflows.c.deleted_at.is_(None))
_NAMED = (workflows.c.tenant == bindparam("b_tenant"), workflows.c.workflow == bindparam("b_workflow"))
_ADD = upsert(workflows).on_conflict_do_nothing(index_elements=["tenant", "workflow"])
_LOCK = select(workflows.c.definition, workflows.c.deleted_at).where(*_NAMED).with_for_update()
_POINT = update(workflows).where(*_NAMED).values(definition=bindparam("b_definition"), deleted_at=None)
_HIDE = update(workflows).where(*_NAMED, workflows.c.deleted_at.is_(None)).values(deleted_at=bindparam("b_now"))


def publish(connection: Connection, row: DefinitionRow, *, if_match: str | None, create: bool) -> DefinitionRow:
    """Make `row` the current version. Raises Conflict, VersionChanged before anything is changed."""
    name = {"b_tenant": row.tenant, "b_workflow": row.workflow}
    # The row is made first, so that there is always one to lock; until a version points at it, it counts as deleted.
    blank = {"tenant": row.tenant, "workflow": row.workflow, "definition": "", "created_at": row.created_at, "deleted_at": row.created_at}
    connection.execute(_ADD, blank)
    pointed, deleted_at = connection.execute(_LOCK, name).one()
    shown = pointed if deleted_at is None else None
    if create and shown is not None:
        raise Conflict(f"workflow {row.workflow!r} exists already")
    if if_match is not None and if_match != shown:
        raise VersionChanged("the workflow has another current version")
    version = _known(connection, row) or _insert(connection, row)
    connection.execute(_POINT, {**name, "b_definition": row.definition})
    return version


def _known(connection: Connection, row: DefinitionRow) -> DefinitionRow | None:
    same = (definitions.c.tenant == row.tenant, definitions.c.workflow == row.workflow, definitions.c.definition == row.definition)
    return _one(connection.execute(_VERSIONS.where(*same)).first())


def _insert(connection: Connection, row: DefinitionRow) -> DefinitionRow:
    last = select(func.max(definitions.c.version)).where(definitions.c.tenant == row.tenant, definitions.c.workflow == row.workflow)
    version = replace(row, version=(connection.scalar(last) or 0) + 1)
    values = {name: getattr(version, name) for name in _FIELDS}
    connection.execute(insert(definitions), {**values, "document": to_text(version.document)})
    return version


def hide(connection: Connection, tenant: str, workflow: str, now: int) -> bool:
    """Whether there was something to hide."""
    return connection.execute(_HIDE, {"b_tenant": tenant, "b_workflow": workflow, "b_now": now}).rowcount > 0


def by_hash(connection: Connection, tenant: str, definition: str) -> DefinitionRow | None:
    found = _VERSIONS.where(definitions.c.tenant == tenant, definitions.c.definition == definition).limit(1)
    return _one(connection.execute(found).first())


def current(connection: Connection, tenant: str, workflow: str) -> DefinitionRow | None:
    found = _CURRENT.where(workflows.c.workflow == workflow)
    return _one(connection.execute(found, {"tenant": tenant}).first())


def all_current(connection: Connection, tenant: str, after: str | None, limit: int) -> list[DefinitionRow]:
    found = _CURRENT if after is None else _CURRENT.where(workflows.c.workflow > after)
    return _many(connection.execute(found.order_by(workflows.c.workflow).limit(limit), {"tenant": tenant}).all())


def history(connection: Connection, tenant: str, workflow: str, before: int | None, limit: int) -> list[DefinitionRow]:
    """Newest first."""
    found = _VERSIONS.where(definitions.c.tenant == tenant, definitions.c.workflow == workflow)
    if before is not None:
        found = found.where(definitions.c.version < before)
    return _many(connection.execute(found.order_by(definitions.c.version.desc()).limit(limit)).all())


def _one(row: Sequence[Any] | None) -> DefinitionRow | None:
    return None if row is None else _many([row])[0]


def _many(rows: Sequence[Sequence[Any]]) -> list[DefinitionRow]:
    found = (dict(zip(_FIELDS, row, strict=True)) for row in rows)
    return [DefinitionRow(**{**values, "document": from_text(values["document"])}) for values in found]
