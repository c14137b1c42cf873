"""Endpoints as rows, and what is asked about their deliveries."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, and_, bindparam, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from runtime.errors import LimitExceeded
from runtime.store.codec import to_text, to_text_or_none
from runtime.store.parcels import DELIVERY_COLUMNS, ENDPOINTS, delivery_from, endpoint_from
from runtime.store.tables import endpoints, outbox
from runtime.store.webhooks import DeliveryRow, DeliveryState, EndpointRow

MAX_ENDPOINTS = 50
"""Per tenant: every event of interest is matched with each of them."""

# What is added again was added by a try whose COMMIT was not confirmed: it is left as it is, and so is a secret that is set already.
_ADD = upsert(endpoints).on_conflict_do_nothing(index_elements=["endpoint_id"])
_POST = upsert(outbox).on_conflict_do_nothing(index_elements=["id"])
_OTHERS = select(func.count()).select_from(endpoints).where(endpoints.c.tenant == bindparam("tenant"), endpoints.c.endpoint_id != bindparam("endpoint"))
_THIS = and_(endpoints.c.tenant == bindparam("b_tenant"), endpoints.c.endpoint_id == bindparam("b_endpoint"))
_ROTATE = (
    update(endpoints)
    .where(_THIS, endpoints.c.secret != bindparam("b_secret"))
    .values(previous_secret=endpoints.c.secret, previous_until=bindparam("b_until"), secret=bindparam("b_secret"))
)
_ONE_DELIVERY = select(*DELIVERY_COLUMNS).where(outbox.c.endpoint_id == bindparam("endpoint"), outbox.c.id == bindparam("id"))
_AGAIN = (
    update(outbox)
    .where(outbox.c.endpoint_id == bindparam("b_endpoint"), outbox.c.id == bindparam("b_id"))
    .values(state=DeliveryState.PENDING.value, tries=0, next_at=bindparam("b_now"), ended_at=None)
)


def add(connection: Connection, row: EndpointRow) -> None:
    """Raises LimitExceeded."""
    if (connection.scalar(_OTHERS, {"tenant": row.tenant, "endpoint": row.endpoint_id}) or 0) >= MAX_ENDPOINTS:
        raise LimitExceeded(f"there are {MAX_ENDPOINTS} endpoints already, and no more are allowed")
    connection.execute(_ADD, _columns({name: getattr(row, name) for name in EndpointRow.__dataclass_fields__}))


def read(connection: Connection, tenant: str, endpoint_id: str) -> EndpointRow | None:
    row = connection.execute(ENDPOINTS.where(_THIS), {"b_tenant": tenant, "b_endpoint": endpoint_id}).first()
    return None if row is None else endpoint_from(row)


def every(connection: Connection, tenant: str) -> list[EndpointRow]:
    """Oldest first."""
    found = ENDPOINTS.where(endpoints.c.tenant == tenant).order_by(endpoints.c.created_at, endpoints.c.endpoint_id)
    return [endpoint_from(row) for row in connection.execute(found)]


def change(connection: Connection, tenant: str, endpoint_id: str, changes: Mapping[str, Any]) -> EndpointRow | None:
    """The endpoint as it is then; None when there is none."""
    this = {"b_tenant": tenant, "b_endpoint": endpoint_id}
    if changes:
        connection.execute(update(endpoints).where(_THIS).values(_columns(changes)), this)
    return read(connection, tenant, endpoint_id)


def rotate(connection: Connection, tenant: str, endpoint_id: str, secret: str, until: int) -> EndpointRow | None:
    """One statement, so that two rotations at once both leave a secret that somebody was told."""
    connection.execute(_ROTATE, {"b_tenant": tenant, "b_endpoint": endpoint_id, "b_secret": secret, "b_until": until})
    return read(connection, tenant, endpoint_id)


def remove(connection: Connection, tenant: str, endpoint_id: str) -> bool:
    """Whether there was one. Its deliveries are sent no more, and pruned later: they may be many."""
    return connection.execute(delete(endpoints).where(_THIS), {"b_tenant": tenant, "b_endpoint": endpoint_id}).rowcount > 0


def deliveries(connection: Connection, endpoint_id: str, state: str | None, before: str | None, limit: int) -> list[DeliveryRow]:
    """Newest first, without payloads."""
    columns = [column if column.name != "payload" else bindparam("none", "").label("payload") for column in DELIVERY_COLUMNS]
    found = select(*columns).where(outbox.c.endpoint_id == endpoint_id)
    if state is not None:
        found = found.where(outbox.c.state == state)
    if before is not None:
        found = found.where(outbox.c.id < before)
    return [delivery_from(row) for row in connection.execute(found.order_by(outbox.c.id.desc()).limit(limit))]


def post(connection: Connection, row: DeliveryRow) -> None:
    """Put a message into the outbox."""
    connection.execute(_POST, {**{name: getattr(row, name) for name in DeliveryRow.__dataclass_fields__}, "state": row.state.value})


def redeliver(connection: Connection, endpoint_id: str, delivery_id: str, now: int) -> DeliveryRow | None:
    """The delivery, due again from its first try on; None when there is none."""
    connection.execute(_AGAIN, {"b_endpoint": endpoint_id, "b_id": delivery_id, "b_now": now})
    row = connection.execute(_ONE_DELIVERY, {"endpoint": endpoint_id, "id": delivery_id}).first()
    return None if row is None else delivery_from(row)


def _columns(values: Mapping[str, Any]) -> dict[str, Any]:
    columns = dict(values)
    if "events" in columns:
        columns["events"] = to_text(columns["events"])
    if "workflows" in columns:
        columns["workflows"] = to_text_or_none(columns["workflows"])
    return columns
