"""Sending: take what is due under a lease, note what became of it, forget what is long over."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, bindparam, delete, exists, func, select, update

from runtime.store.codec import from_text, from_text_or_none
from runtime.store.columns import any_of
from runtime.store.tables import endpoints, events, outbox
from runtime.store.webhooks import DeliveryRow, DeliveryState, EndpointRow, Parcel, Settled
from runtime.tracing.ids import beneath_run

FAILING_MS = 5 * 86_400_000
"""An endpoint for which nothing has got through this long is disabled."""
MAX_DUE = 1_000
PENDING = DeliveryState.PENDING.value

_DELIVERY_FIELDS = tuple(DeliveryRow.__dataclass_fields__)
DELIVERY_COLUMNS = tuple(outbox.c[name] for name in _DELIVERY_FIELDS)
ENDPOINTS = select(*endpoints.c)
_ENABLED = endpoints.c.disabled_at.is_(None)

_older = outbox.alias("older")
_is_due = (outbox.c.state == PENDING, outbox.c.next_at <= bindparam("now"))
_DUE_ENDPOINTS = (
    select(endpoints.c.endpoint_id)
    .where(_ENABLED, exists().where(outbox.c.endpoint_id == endpoints.c.endpoint_id, *_is_due))
    .order_by(endpoints.c.endpoint_id)
    .limit(MAX_DUE)
)
# The first delivery of the run that has not ended: until it has, no later one is sent.
_first = (
    select(func.min(_older.c.seq))
    .where(_older.c.endpoint_id == outbox.c.endpoint_id, _older.c.run_id == outbox.c.run_id, _older.c.state == PENDING)
    .scalar_subquery()
)
_DUE = (
    select(*DELIVERY_COLUMNS, _first)
    .where(outbox.c.endpoint_id == bindparam("endpoint"), *_is_due)
    .order_by(outbox.c.next_at, outbox.c.run_id, outbox.c.seq)
    .limit(bindparam("limit"))
    .with_for_update(skip_locked=True)
)
_CREATED = select(events.c.run_id, events.c.body).where(any_of(events.c.run_id, "ids"), events.c.seq == 1)
_mine = outbox.c.id == bindparam("b_id")
_TAKE = update(outbox).where(_mine).values(tries=bindparam("b_tries"), next_at=bindparam("b_next_at"))
_WAIT = update(outbox).where(_mine).values(next_at=bindparam("b_next_at"))
_NEXT_AT = select(outbox.c.next_at).where(
    outbox.c.endpoint_id == bindparam("endpoint"), outbox.c.run_id == bindparam("run"), outbox.c.seq == bindparam("seq"), outbox.c.state == PENDING
)

_DELIVERED = update(outbox).where(_mine, outbox.c.state == PENDING)
_FAILED = _DELIVERED.where(outbox.c.tries == bindparam("b_tries"))
# Whatever waits behind a delivery that has ended is due at once.
_WAKE = update(outbox).where(
    outbox.c.endpoint_id == bindparam("b_endpoint"),
    outbox.c.run_id == bindparam("b_run"),
    outbox.c.state == PENDING,
    outbox.c.next_at > bindparam("b_now"),
    outbox.c.tries == 0,
    outbox.c.seq == _first,
)
_this_endpoint = endpoints.c.endpoint_id == bindparam("b_endpoint")
_WELL = update(endpoints).where(_this_endpoint, endpoints.c.failing_since.is_not(None)).values(failing_since=None)
_ILL = update(endpoints).where(_this_endpoint, endpoints.c.failing_since.is_(None)).values(failing_since=bindparam("b_now"))
_DISABLE = update(endpoints).where(_this_endpoint, _ENABLED).values(disabled_at=bindparam("b_now"), disabled_reason=bindparam("b_reason"))
_DISABLE_ILL = _DISABLE.where(endpoints.c.failing_since <= bindparam("b_before"))

_OLD = select(outbox.c.id).where(outbox.c.ended_at < bindparam("before")).order_by(outbox.c.ended_at).limit(bindparam("limit"))
_NEXT_ENDPOINT = select(func.min(outbox.c.endpoint_id)).where(outbox.c.endpoint_id > bindparam("after"))
_KNOWN = select(exists().where(endpoints.c.endpoint_id == bindparam("endpoint")))
_OF_ENDPOINT = select(outbox.c.id).where(outbox.c.endpoint_id == bindparam("endpoint")).limit(bindparam("limit"))
_DELETE = delete(outbox).where(any_of(outbox.c.id, "ids"))
_PRUNED = update(endpoints).where(endpoints.c.pruned_before < bindparam("b_before")).values(pruned_before=bindparam("b_before"))


def endpoint_from(row: Sequence[Any]) -> EndpointRow:
    """An endpoint from all columns of the table."""
    values = dict(zip((column.name for column in endpoints.c), row, strict=True))
    workflows = from_text_or_none(values["workflows"])
    return EndpointRow(**{**values, "events": tuple(from_text(values["events"])), "workflows": None if workflows is None else tuple(workflows)})


def delivery_from(row: Sequence[Any]) -> DeliveryRow:
    """A delivery from DELIVERY_COLUMNS."""
    values = dict(zip(_DELIVERY_FIELDS, row, strict=True))
    return DeliveryRow(**{**values, "state": DeliveryState(values["state"])})


def due(connection: Connection, now: int) -> list[str]:
    return list(connection.scalars(_DUE_ENDPOINTS, {"now": now}))


def take(connection: Connection, wanted: Mapping[str, int], now: int, lease_ms: int) -> list[Parcel]:
    """Deliveries to send. What another process has locked is skipped, what waits for an earlier one of its run is put aside."""
    parcels: list[Parcel] = []
    for row in connection.execute(ENDPOINTS.where(any_of(endpoints.c.endpoint_id, "ids"), _ENABLED), {"ids": sorted(wanted)}).all():
        endpoint = endpoint_from(row)
        found = connection.execute(_DUE, {"endpoint": endpoint.endpoint_id, "now": now, "limit": wanted[endpoint.endpoint_id]}).all()
        first = [delivery_from(each[:-1]) for each in found if each[-1] in (None, each.seq)]
        taken = [replace(delivery, tries=delivery.tries + 1, next_at=now + lease_ms) for delivery in first]
        if taken:
            connection.execute(_TAKE, [{"b_id": one.id, "b_tries": one.tries, "b_next_at": one.next_at} for one in taken])
        _put_aside(connection, [each for each in found if each[-1] not in (None, each.seq)], now)
        parcels += [Parcel(delivery, endpoint) for delivery in taken]
    traces = _traces(connection, {parcel.delivery.run_id for parcel in parcels if parcel.delivery.run_id is not None})
    return [replace(parcel, traceparent=traces.get(parcel.delivery.run_id or "")) for parcel in parcels]


def _traces(connection: Connection, run_ids: set[str]) -> dict[str, str | None]:
    """The `traceparent` for what is told of these runs; a run that is gone has none."""
    if not run_ids:
        return {}
    rows = connection.execute(_CREATED, {"ids": sorted(run_ids)})
    return {run_id: beneath_run((from_text_or_none(body) or {}).get("traceparent"), run_id) for run_id, body in rows}


def _put_aside(connection: Connection, waiting: Iterable[Any], now: int) -> None:
    """Deliveries behind an earlier one are due when that one is, or when it ends, whichever is first: until then nobody looks at them."""
    aside = []
    for each in waiting:
        ahead = connection.scalar(_NEXT_AT, {"endpoint": each.endpoint_id, "run": each.run_id, "seq": each[-1]})
        aside.append({"b_id": each.id, "b_next_at": max(ahead or 0, now + 1)})
    if aside:
        connection.execute(_WAIT, aside)


def settle(connection: Connection, settled: Settled) -> None:
    """Note what became of a try, unless a later one has already begun."""
    delivery, over = settled.delivery, settled.state is not DeliveryState.PENDING
    values: dict[str, Any] = {"state": settled.state.value, "answer": settled.answer, "error": settled.error, "ended_at": settled.at if over else None}
    if settled.state is DeliveryState.DELIVERED:
        noted = connection.execute(_DELIVERED.values(values), {"b_id": delivery.id})
    else:
        values |= {"next_at": settled.next_at, "tries": delivery.tries - settled.untried}
        noted = connection.execute(_FAILED.values(values), {"b_id": delivery.id, "b_tries": delivery.tries})
    if not noted.rowcount:
        return
    if over and delivery.run_id is not None:
        wake = {"b_endpoint": delivery.endpoint_id, "b_run": delivery.run_id, "b_now": settled.at}
        connection.execute(_WAKE.values(next_at=bindparam("b_now")), wake)
    if not settled.untried:
        _note_health(connection, settled)


def _note_health(connection: Connection, settled: Settled) -> None:
    this = {"b_endpoint": settled.delivery.endpoint_id}
    if settled.state is DeliveryState.DELIVERED:
        connection.execute(_WELL, this)
        return
    connection.execute(_ILL, {**this, "b_now": settled.at})
    if settled.disable is not None:
        connection.execute(_DISABLE, {**this, "b_now": settled.at, "b_reason": settled.disable})
    else:
        reason = "nothing was delivered in five days"
        connection.execute(_DISABLE_ILL, {**this, "b_now": settled.at, "b_reason": reason, "b_before": settled.at - FAILING_MS})


def prune(connection: Connection, before: int, limit: int) -> int:
    """Delete up to `limit` deliveries that are long over, or that belong to no endpoint any more."""
    old = list(connection.scalars(_OLD, {"before": before, "limit": limit}))
    if old:
        connection.execute(_PRUNED, {"b_before": before})
    ids = old or _orphans(connection, limit)
    if ids:
        connection.execute(_DELETE, {"ids": ids})
    return len(ids)


def _orphans(connection: Connection, limit: int) -> list[str]:
    """Deliveries of the first endpoint that is gone: one step of the index for each endpoint, not one for each delivery."""
    endpoint = connection.scalar(_NEXT_ENDPOINT, {"after": ""})
    while endpoint is not None:
        if not connection.scalar(_KNOWN, {"endpoint": endpoint}):
            return list(connection.scalars(_OF_ENDPOINT, {"endpoint": endpoint, "limit": limit}))
        endpoint = connection.scalar(_NEXT_ENDPOINT, {"after": endpoint})
    return []
