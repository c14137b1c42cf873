"""Who is told of events: endpoints, their secrets and their deliveries."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import httpx2

from runtime.clock import Clock, SystemClock
from runtime.errors import Conflict, NotFound, Problem, RequestInvalid
from runtime.ids import is_uuid, uuid7
from runtime.secrets import SecretBox
from runtime.signatures import new_secret
from runtime.store.announcements import TEST_EVENT, message
from runtime.store.webhooks import DeliveryRow, DeliveryState, EndpointRow, Outbox

OVERLAP_MS = 86_400_000
"""How long a secret that was replaced still signs."""


class Endpoints:
    """Every method takes the tenant from whoever authenticated the caller. A secret leaves only where it is made."""

    def __init__(self, outbox: Outbox, box: SecretBox, clock: Clock | None = None) -> None:
        self._outbox = outbox
        self._box = box
        self._clock = clock or SystemClock()

    async def create(
        self, tenant: str, url: str, *, events: Sequence[str], workflows: Sequence[str] | None = None, description: str = ""
    ) -> tuple[EndpointRow, str]:
        """An endpoint and its secret. Raises RequestInvalid, LimitExceeded."""
        check_url(url)
        now, secret = self._clock.now(), new_secret()
        wanted = None if workflows is None else tuple(dict.fromkeys(workflows))
        row = EndpointRow(uuid7(now), tenant, url, tuple(dict.fromkeys(events)), wanted, description, "", now, now)
        row = replace(row, secret=self._box.seal(secret.encode(), row.place))
        await self._outbox.add(row)
        return row, secret

    async def endpoint(self, tenant: str, endpoint_id: str) -> EndpointRow:
        """Raises NotFound, also for one of another tenant."""
        return _found(await self._outbox.endpoint(tenant, endpoint_id) if is_uuid(endpoint_id) else None, endpoint_id)

    async def endpoints(self, tenant: str) -> list[EndpointRow]:
        """Oldest first."""
        return await self._outbox.endpoints(tenant)

    async def change(self, tenant: str, endpoint_id: str, changes: dict[str, Any]) -> EndpointRow:
        """Set `url`, `events`, `workflows`, `description`, `enabled`, as far as they are named. Raises NotFound, RequestInvalid.

        What waits for an endpoint that is disabled is sent when it is enabled again; what happens meanwhile is not.
        """
        await self.endpoint(tenant, endpoint_id)
        if "url" in changes:
            check_url(changes["url"])
        columns = {name: value for name, value in changes.items() if name != "enabled"}
        if "enabled" in changes:
            columns["failing_since"] = None
            columns["disabled_at"] = None if changes["enabled"] else self._clock.now()
            columns["disabled_reason"] = None if changes["enabled"] else "by hand"
        if columns.keys() & {"events", "workflows", "disabled_at"}:
            columns["since"] = self._clock.now()
        return _found(await self._outbox.change(tenant, endpoint_id, columns), endpoint_id)

    async def remove(self, tenant: str, endpoint_id: str) -> None:
        """Nothing more is sent there. Raises NotFound."""
        if not is_uuid(endpoint_id) or not await self._outbox.remove(tenant, endpoint_id):
            raise _missing(endpoint_id)

    async def rotate(self, tenant: str, endpoint_id: str) -> tuple[EndpointRow, str]:
        """A new secret; for 24 hours messages carry a signature with the one before too. Raises NotFound."""
        row, secret = await self.endpoint(tenant, endpoint_id), new_secret()
        sealed = self._box.seal(secret.encode(), row.place)
        rotated = await self._outbox.rotate(tenant, endpoint_id, sealed, until=self._clock.now() + OVERLAP_MS)
        return _found(rotated, endpoint_id), secret

    async def test(self, tenant: str, endpoint_id: str) -> DeliveryRow:
        """Send a message that speaks of no run. Raises NotFound, Conflict when the endpoint is disabled."""
        row, now = await self._enabled(tenant, endpoint_id), self._clock.now()
        payload = message(TEST_EVENT, now, {"endpoint_id": endpoint_id, "message": "This is a test; nothing has happened."})
        delivery = DeliveryRow(uuid7(now), row.endpoint_id, None, None, TEST_EVENT, payload, DeliveryState.PENDING, 0, now, now)
        await self._outbox.post(delivery)
        return delivery

    async def deliveries(self, tenant: str, endpoint_id: str, *, state: str | None = None, before: str | None = None, limit: int = 50) -> list[DeliveryRow]:
        """Newest first. Raises NotFound."""
        await self.endpoint(tenant, endpoint_id)
        return await self._outbox.deliveries(endpoint_id, state=state, before=before, limit=limit)

    async def redeliver(self, tenant: str, endpoint_id: str, delivery_id: str) -> DeliveryRow:
        """Send a message once more, with the id it had. Raises NotFound, Conflict when the endpoint is disabled."""
        await self._enabled(tenant, endpoint_id)
        known = is_uuid(delivery_id)
        row = await self._outbox.redeliver(endpoint_id, delivery_id, self._clock.now()) if known else None
        if row is None:
            raise NotFound(f"there is no delivery {delivery_id[:100]}")
        return row

    async def _enabled(self, tenant: str, endpoint_id: str) -> EndpointRow:
        row = await self.endpoint(tenant, endpoint_id)
        if row.disabled_at is not None:
            raise Conflict(f"the endpoint is disabled ({row.disabled_reason}); enable it first")
        return row


def check_url(url: str) -> None:
    """Raises RequestInvalid unless this is an address that could be sent to. Whether it may be is decided for each message, by its addresses."""
    try:
        parsed = httpx2.URL(url)
        wrong = _wrong(parsed)
    except (httpx2.InvalidURL, ValueError, UnicodeError):
        wrong = "this is not a URL"
    if wrong is not None:
        raise RequestInvalid(f"url: {wrong}", problems=[Problem("/url", wrong)])


def _wrong(url: httpx2.URL) -> str | None:
    if url.scheme not in ("http", "https") or not url.host:
        return "it must begin with https:// or http:// and name a host"
    if url.port is not None and not 0 < url.port < 65536:
        return "a port is between 1 and 65535"
    if url.userinfo:
        return "credentials do not belong into a URL; receivers check the signature"
    return "a fragment is never sent; leave it out" if url.fragment else None


def _found(row: EndpointRow | None, endpoint_id: str) -> EndpointRow:
    if row is None:
        raise _missing(endpoint_id)
    return row


def _missing(endpoint_id: str) -> NotFound:
    return NotFound(f"there is no endpoint {endpoint_id[:100]}")
