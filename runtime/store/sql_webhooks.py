"""The Outbox and the Hooks on SQL."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from sqlalchemy import Connection

from runtime.store import endpoints, hooks, parcels
from runtime.store.operations import Work
from runtime.store.reader import Reader
from runtime.store.webhooks import DeliveryRow, EndpointRow, HookRow, Parcel, Settled
from runtime.store.writer import Writer

T = TypeVar("T")


class _Sql:
    def __init__(self, writer: Writer, reader: Reader) -> None:
        self._writer = writer
        self._reader = reader

    async def _work(self, function: Callable[[Connection], T]) -> T:
        return await self._writer.write(Work(function))


class SqlOutbox(_Sql):
    """Implements `webhooks.Outbox`, which documents every method."""

    async def add(self, row: EndpointRow) -> None:
        await self._work(lambda connection: endpoints.add(connection, row))

    async def endpoint(self, tenant: str, endpoint_id: str) -> EndpointRow | None:
        return await self._reader.read(lambda connection: endpoints.read(connection, tenant, endpoint_id))

    async def endpoints(self, tenant: str) -> list[EndpointRow]:
        return await self._reader.read(lambda connection: endpoints.every(connection, tenant))

    async def change(self, tenant: str, endpoint_id: str, changes: Mapping[str, Any]) -> EndpointRow | None:
        return await self._work(lambda connection: endpoints.change(connection, tenant, endpoint_id, changes))

    async def rotate(self, tenant: str, endpoint_id: str, secret: str, *, until: int) -> EndpointRow | None:
        return await self._work(lambda connection: endpoints.rotate(connection, tenant, endpoint_id, secret, until))

    async def remove(self, tenant: str, endpoint_id: str) -> bool:
        return await self._work(lambda connection: endpoints.remove(connection, tenant, endpoint_id))

    async def deliveries(self, endpoint_id: str, *, state: str | None = None, before: str | None = None, limit: int = 50) -> list[DeliveryRow]:
        return await self._reader.read(lambda connection: endpoints.deliveries(connection, endpoint_id, state, before, limit))

    async def post(self, row: DeliveryRow) -> None:
        await self._work(lambda connection: endpoints.post(connection, row))

    async def redeliver(self, endpoint_id: str, delivery_id: str, now: int) -> DeliveryRow | None:
        return await self._work(lambda connection: endpoints.redeliver(connection, endpoint_id, delivery_id, now))

    async def due(self, now: int) -> list[str]:
        return await self._reader.read(lambda connection: parcels.due(connection, now))

    async def take(self, wanted: Mapping[str, int], *, now: int, lease_ms: int) -> list[Parcel]:
        return await self._work(lambda connection: parcels.take(connection, wanted, now, lease_ms))

    async def settle(self, settled: Settled) -> None:
        await self._work(lambda connection: parcels.settle(connection, settled))

    async def prune(self, before: int, limit: int = 1000) -> int:
        return await self._work(lambda connection: parcels.prune(connection, before, limit))


class SqlHooks(_Sql):
    """Implements `webhooks.Hooks`, which documents every method."""

    async def add(self, row: HookRow) -> None:
        await self._work(lambda connection: hooks.add(connection, row))

    async def hook(self, tenant: str, hook_id: str) -> HookRow | None:
        return await self._reader.read(lambda connection: hooks.read(connection, tenant, hook_id))

    async def hooks(self, tenant: str) -> list[HookRow]:
        return await self._reader.read(lambda connection: hooks.every(connection, tenant))

    async def by_token(self, token_id: str) -> HookRow | None:
        return await self._reader.read(lambda connection: hooks.by_token(connection, token_id))

    async def rotate(self, tenant: str, hook_id: str, *, token_id: str, digest: bytes, secret: str | None) -> HookRow | None:
        return await self._work(lambda connection: hooks.rotate(connection, tenant, hook_id, token_id, digest, secret))

    async def remove(self, tenant: str, hook_id: str) -> bool:
        return await self._work(lambda connection: hooks.remove(connection, tenant, hook_id))
