"""Hooks as rows."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, and_, bindparam, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from runtime.errors import Conflict, LimitExceeded
from runtime.store.codec import from_text, from_text_or_none, to_text, to_text_or_none
from runtime.store.tables import hooks
from runtime.store.webhooks import HookRow

MAX_HOOKS = 1_000
"""Per tenant."""

_FIELDS = tuple(HookRow.__dataclass_fields__)
_HOOKS = select(*(hooks.c[name] for name in _FIELDS))
_THIS = and_(hooks.c.tenant == bindparam("b_tenant"), hooks.c.hook_id == bindparam("b_hook"))
# A hook that is there already was added by a try whose COMMIT was not confirmed.
_ADD = upsert(hooks).on_conflict_do_nothing(index_elements=["hook_id"])
_OTHERS = (hooks.c.tenant == bindparam("tenant"), hooks.c.hook_id != bindparam("hook"))
_COUNT = select(func.count()).select_from(hooks).where(*_OTHERS)
_TAKEN = select(hooks.c.name).where(*_OTHERS, hooks.c.name == bindparam("name"))
_ROTATE = update(hooks).where(_THIS).values(token_id=bindparam("b_token"), digest=bindparam("b_digest"), secret=bindparam("b_secret"))


def add(connection: Connection, row: HookRow) -> None:
    """Raises Conflict, LimitExceeded."""
    others = {"tenant": row.tenant, "hook": row.hook_id}
    if connection.scalar(_TAKEN, {**others, "name": row.name}) is not None:
        raise Conflict(f"hook {row.name!a} exists already")
    if (connection.scalar(_COUNT, others) or 0) >= MAX_HOOKS:
        raise LimitExceeded(f"there are {MAX_HOOKS} hooks already, and no more are allowed")
    values = {name: getattr(row, name) for name in _FIELDS}
    connection.execute(_ADD, {**values, "inputs": to_text_or_none(row.inputs), "labels": to_text(row.labels)})


def read(connection: Connection, tenant: str, hook_id: str) -> HookRow | None:
    return _one(connection.execute(_HOOKS.where(_THIS), {"b_tenant": tenant, "b_hook": hook_id}).first())


def by_token(connection: Connection, token_id: str) -> HookRow | None:
    return _one(connection.execute(_HOOKS.where(hooks.c.token_id == token_id)).first())


def every(connection: Connection, tenant: str) -> list[HookRow]:
    """By name."""
    return [_hook(row) for row in connection.execute(_HOOKS.where(hooks.c.tenant == tenant).order_by(hooks.c.name))]


def rotate(connection: Connection, tenant: str, hook_id: str, token_id: str, digest: bytes, secret: str | None) -> HookRow | None:
    """The hook as it is then; None when there is none."""
    connection.execute(_ROTATE, {"b_tenant": tenant, "b_hook": hook_id, "b_token": token_id, "b_digest": digest, "b_secret": secret})
    return read(connection, tenant, hook_id)


def remove(connection: Connection, tenant: str, hook_id: str) -> bool:
    """Whether there was one."""
    return connection.execute(delete(hooks).where(_THIS), {"b_tenant": tenant, "b_hook": hook_id}).rowcount > 0


def _one(row: Sequence[Any] | None) -> HookRow | None:
    return None if row is None else _hook(row)


def _hook(row: Sequence[Any]) -> HookRow:
    values = dict(zip(_FIELDS, row, strict=True))
    stored = {"digest": bytes(values["digest"]), "inputs": from_text_or_none(values["inputs"]), "labels": from_text(values["labels"])}
    return HookRow(**{**values, **stored})
