"""Endpoints for tests of the outbox, and a look at what lies in it."""

from dataclasses import replace
from typing import Any

from sqlalchemy import select

from runtime.ids import uuid7
from runtime.store.open import Store
from runtime.store.tables import outbox
from runtime.store.webhooks import DeliveryState, EndpointRow, Parcel, Settled
from tests.contract.store.desk import TENANT, tick

LEASE = 60_000


def an_endpoint(**fields: Any) -> EndpointRow:
    """One that wants everything."""
    at = tick()
    return replace(EndpointRow(uuid7(at), TENANT, "https://receiver.example/in", ("*",), None, "", "sealed", at, at), **fields)


async def subscribe(store: Store, **fields: Any) -> EndpointRow:
    row = an_endpoint(**fields)
    await store.outbox.add(row)
    return row


async def in_outbox(store: Store) -> list[Any]:
    """All deliveries in the order of their runs' events."""
    found = select(outbox).order_by(outbox.c.run_id, outbox.c.seq, outbox.c.endpoint_id)
    return await store.reader.read(lambda connection: list(connection.execute(found)))


async def take(store: Store, endpoint: EndpointRow, *, now: int, limit: int = 10) -> list[Parcel]:
    return await store.outbox.take({endpoint.endpoint_id: limit}, now=now, lease_ms=LEASE)


async def settle(store: Store, parcel: Parcel, state: DeliveryState = DeliveryState.DELIVERED, *, at: int, next_at: int = 0, **fields: Any) -> None:
    await store.outbox.settle(Settled(parcel.delivery, state, at, next_at, **fields))
