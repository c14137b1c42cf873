"""Deliveries come into being in the transaction of the event they speak of: no event is told that did not happen, none is forgotten.

A batch without an event of interest costs nothing, one without a subscriber one look at an empty table.
"""

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Connection, insert, select

from runtime.ids import derived_uuid7
from runtime.store.announcements import ANNOUNCED, announcement
from runtime.store.codec import from_text
from runtime.store.columns import any_of
from runtime.store.operations import Row
from runtime.store.parcels import endpoint_from
from runtime.store.tables import endpoints, outbox, runs
from runtime.store.webhooks import DeliveryState, EndpointRow

_INSERT = insert(outbox)
_SUBSCRIBED = (
    select(runs.c.run_id, runs.c.workflow, runs.c.labels, *endpoints.c)
    .join_from(endpoints, runs, endpoints.c.tenant == runs.c.tenant)
    .where(any_of(runs.c.run_id, "ids"), endpoints.c.disabled_at.is_(None))
    .order_by(endpoints.c.endpoint_id)
)


def announce(connection: Connection, events: Sequence[Row], status_of: Callable[[str], str]) -> None:
    """Write a delivery for each of these events and each endpoint that wants it. The events are rows of this transaction."""
    told = [event for event in events if event["kind"] in ANNOUNCED]
    if not told:
        return
    subscribed = _subscribed(connection, sorted({event["run_id"] for event in told}))
    if not subscribed:
        return
    rows = [row for event in told for row in _deliveries(event, status_of(event["run_id"]), subscribed.get(event["run_id"], ()))]
    if rows:
        connection.execute(_INSERT, rows)


Subscriber = tuple[str, dict[str, str], EndpointRow]
"""(workflow of the run, its labels, an endpoint of its tenant)"""


def _subscribed(connection: Connection, run_ids: list[str]) -> dict[str, list[Subscriber]]:
    found: dict[str, list[Subscriber]] = {}
    for run_id, workflow, labels, *endpoint in connection.execute(_SUBSCRIBED, {"ids": run_ids}):
        found.setdefault(run_id, []).append((workflow, from_text(labels) if labels else {}, endpoint_from(endpoint)))
    return found


def _deliveries(event: Row, status: str, subscribers: Sequence[Subscriber]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    payload = None
    for workflow, labels, endpoint in subscribers:
        if not endpoint.wants(event["kind"], workflow):
            continue
        if payload is None:
            about = {"run_id": event["run_id"], "workflow": workflow, "labels": labels, "seq": event["seq"]}
            body = from_text(event["body"]) if event["body"] else {}
            payload = announcement(event["kind"], event["at"], about, status=status, step=event["step"], body=body)
        rows.append(
            {
                "id": derived_uuid7(event["at"], endpoint.endpoint_id, event["run_id"], event["seq"]),
                "endpoint_id": endpoint.endpoint_id,
                "run_id": event["run_id"],
                "seq": event["seq"],
                "event": event["kind"],
                "payload": payload,
                "state": DeliveryState.PENDING.value,
                "tries": 0,
                "next_at": event["at"],
                "created_at": event["at"],
            }
        )
    return rows
