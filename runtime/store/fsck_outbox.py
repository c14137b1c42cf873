"""Invariant I12: deliveries and the events that demand one, compared in both directions."""

from collections.abc import Iterator, Sequence

from sqlalchemy import Connection, bindparam, exists, select

from runtime.store.announcements import ANNOUNCED
from runtime.store.columns import any_of
from runtime.store.parcels import ENDPOINTS, endpoint_from
from runtime.store.tables import endpoints, events, outbox, runs
from runtime.store.webhooks import EndpointRow

GRACE_MS = 60_000
"""An event this soon after a change of what an endpoint wants may have been committed before the change."""

_EVENTS = (
    select(events.c.run_id, events.c.seq, events.c.kind, events.c.at, runs.c.tenant, runs.c.workflow)
    .join_from(events, runs, runs.c.run_id == events.c.run_id)
    .where(any_of(runs.c.run_id, "ids"), events.c.kind.in_(sorted(ANNOUNCED)))
)
_DELIVERIES = select(outbox.c.endpoint_id, outbox.c.run_id, outbox.c.seq).where(outbox.c.endpoint_id == bindparam("endpoint"), any_of(outbox.c.run_id, "ids"))


def untold(connection: Connection, run_ids: Sequence[str]) -> Iterator[str]:
    """Events of these runs that an enabled endpoint should have been told of, and has no delivery for."""
    subscribers = [endpoint_from(row) for row in connection.execute(ENDPOINTS.where(endpoints.c.disabled_at.is_(None)))]
    if not subscribers:
        return
    found = connection.execute(_EVENTS, {"ids": list(run_ids)}).all()
    for endpoint in subscribers:
        told = {(run_id, seq) for _, run_id, seq in connection.execute(_DELIVERIES, {"endpoint": endpoint.endpoint_id, "ids": list(run_ids)})}
        for run_id, seq, kind, at, tenant, workflow in found:
            if tenant == endpoint.tenant and endpoint.wants(kind, workflow) and _since(endpoint) < at and (run_id, seq) not in told:
                yield f"I12 run {run_id}: event {seq} ({kind}) has no delivery for endpoint {endpoint.endpoint_id}"


def unfounded(connection: Connection, limit: int) -> Iterator[str]:
    """Deliveries whose event is not there, or is of another kind. One may outlive its whole run: it holds all it needs."""
    no_event = ~exists().where(events.c.run_id == outbox.c.run_id, events.c.seq == outbox.c.seq, events.c.kind == outbox.c.event)
    run_is_there = exists().where(runs.c.run_id == outbox.c.run_id)
    for delivery in connection.scalars(select(outbox.c.id).where(run_is_there, no_event).limit(limit)):
        yield f"I12 outbox {delivery}: its event is not there"


def _since(endpoint: EndpointRow) -> int:
    return max(endpoint.since + GRACE_MS, endpoint.pruned_before)
