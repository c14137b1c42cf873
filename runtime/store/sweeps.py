"""Small rows that have had their time: idempotency keys, API keys and tickets, versions of deleted workflows."""

from sqlalchemy import Connection, bindparam, delete, exists, or_, select, tuple_

from runtime.store.columns import any_of
from runtime.store.tables import api_keys, definitions, idem, runs, workflows

PORTION = 250
"""Rows deleted in one transaction."""

_OLD_IDEM = select(idem.c.tenant, idem.c.key).where(idem.c.expires_at <= bindparam("now")).limit(PORTION).with_for_update(skip_locked=True)
_DELETE_IDEM = delete(idem).where(tuple_(idem.c.tenant, idem.c.key).in_(_OLD_IDEM), idem.c.expires_at <= bindparam("now"))

_TICKET = api_keys.c.scopes.like('["events:%')
_OLD_KEY = or_(
    api_keys.c.expires_at < bindparam("keys"),
    api_keys.c.revoked_at < bindparam("keys"),
    (api_keys.c.expires_at < bindparam("tickets")) & _TICKET,
)
_OLD_KEYS = select(api_keys.c.key_id).where(_OLD_KEY).limit(PORTION)
_DELETE_KEYS = delete(api_keys).where(any_of(api_keys.c.key_id, "ids"))

_HAS_RUNS = exists().where(runs.c.tenant == workflows.c.tenant, runs.c.workflow == workflows.c.workflow)
_FORGOTTEN = select(workflows.c.tenant, workflows.c.workflow).where(workflows.c.deleted_at < bindparam("before"), ~_HAS_RUNS)
_SOME_FORGOTTEN = _FORGOTTEN.limit(20)
_HOLD = _FORGOTTEN.where(workflows.c.tenant == bindparam("tenant"), workflows.c.workflow == bindparam("workflow")).with_for_update(skip_locked=True)


def expired_keys(connection: Connection, now: int) -> int:
    """Delete idempotency keys that lead to nothing any more; how many."""
    return connection.execute(_DELETE_IDEM, {"now": now}).rowcount


def old_keys(connection: Connection, *, keys: int, tickets: int) -> list[str]:
    """API keys that expired or were revoked before `keys`, and tickets that expired before `tickets` (ms)."""
    return list(connection.scalars(_OLD_KEYS, {"keys": keys, "tickets": tickets}))


def delete_keys(connection: Connection, key_ids: list[str]) -> int:
    """Delete these keys: what has expired or was revoked never becomes valid again."""
    return connection.execute(_DELETE_KEYS, {"ids": key_ids}).rowcount


def forgotten(connection: Connection, before: int) -> list[tuple[str, str]]:
    """Some (tenant, workflow) that were deleted before `before` (ms) and have no run any more."""
    return [(tenant, workflow) for tenant, workflow in connection.execute(_SOME_FORGOTTEN, {"before": before})]


def delete_workflow(connection: Connection, tenant: str, workflow: str, before: int) -> int:
    """Delete a forgotten workflow and its versions, unless it was published again meanwhile; how many versions."""
    named = {"tenant": tenant, "workflow": workflow, "before": before}
    if connection.execute(_HOLD, named).first() is None:
        return 0
    gone = connection.execute(delete(definitions).where(definitions.c.tenant == tenant, definitions.c.workflow == workflow)).rowcount
    connection.execute(delete(workflows).where(workflows.c.tenant == tenant, workflows.c.workflow == workflow))
    return gone
