"""API keys and the named artifacts of runs: labels on what is kept elsewhere."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from runtime.store.catalog_protocol import ArtifactRow, KeyRow
from runtime.store.codec import from_text, to_text
from runtime.store.tables import api_keys, artifacts, runs

_KEY_FIELDS = tuple(KeyRow.__dataclass_fields__)
_KEYS = select(*(api_keys.c[name] for name in _KEY_FIELDS))
_PUT_KEY = upsert(api_keys).on_conflict_do_nothing(index_elements=["key_id"])
_REVOKE = (
    update(api_keys)
    .where(api_keys.c.tenant == bindparam("b_tenant"), api_keys.c.key_id == bindparam("b_key"), api_keys.c.revoked_at.is_(None))
    .values(revoked_at=bindparam("b_now"))
)

_ARTIFACT_FIELDS = tuple(ArtifactRow.__dataclass_fields__)
_ARTIFACTS = select(*(artifacts.c[name] for name in _ARTIFACT_FIELDS)).where(artifacts.c.run_id == bindparam("run"))
_RUN = select(runs.c.run_id).where(runs.c.run_id == bindparam("run")).with_for_update(read=True, key_share=True)
_new_artifact = upsert(artifacts)
_PUT_ARTIFACT = _new_artifact.on_conflict_do_update(
    index_elements=["run_id", "name"], set_={name: _new_artifact.excluded[name] for name in _ARTIFACT_FIELDS if name not in {"run_id", "name"}}
)


def put_key(connection: Connection, row: KeyRow) -> None:
    """Insert a key; a key that is there is never overwritten."""
    values = {name: getattr(row, name) for name in _KEY_FIELDS}
    connection.execute(_PUT_KEY, {**values, "scopes": to_text(row.scopes)})


def read_key(connection: Connection, key_id: str) -> KeyRow | None:
    found = connection.execute(_KEYS.where(api_keys.c.key_id == key_id)).first()
    return None if found is None else _key(found)


def list_keys(connection: Connection, tenant: str) -> list[KeyRow]:
    """Oldest first."""
    found = _KEYS.where(api_keys.c.tenant == tenant).order_by(api_keys.c.created_at, api_keys.c.key_id)
    return [_key(row) for row in connection.execute(found)]


def revoke_key(connection: Connection, tenant: str, key_id: str, now: int) -> bool:
    """Whether the key was there and still valid."""
    return connection.execute(_REVOKE, {"b_tenant": tenant, "b_key": key_id, "b_now": now}).rowcount > 0


def _key(row: Sequence[Any]) -> KeyRow:
    values = dict(zip(_KEY_FIELDS, row, strict=True))
    return KeyRow(**{**values, "scopes": tuple(from_text(values["scopes"])), "digest": bytes(values["digest"])})


def put_artifact(connection: Connection, row: ArtifactRow) -> None:
    """Put a name on content; a step that runs again puts the same name on what it makes then. A run that was removed gets none."""
    if connection.execute(_RUN, {"run": row.run_id}).first() is None:
        return
    connection.execute(_PUT_ARTIFACT, {name: getattr(row, name) for name in _ARTIFACT_FIELDS})


def list_artifacts(connection: Connection, run_id: str, after: str | None, limit: int) -> list[ArtifactRow]:
    """By name."""
    found = _ARTIFACTS if after is None else _ARTIFACTS.where(artifacts.c.name > after)
    return [ArtifactRow(*row) for row in connection.execute(found.order_by(artifacts.c.name).limit(limit), {"run": run_id})]


def read_artifact(connection: Connection, run_id: str, name: str) -> ArtifactRow | None:
    found = connection.execute(_ARTIFACTS.where(artifacts.c.name == name), {"run": run_id}).first()
    return None if found is None else ArtifactRow(*found)
