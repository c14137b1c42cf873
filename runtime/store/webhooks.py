"""The seams for webhooks: `Outbox` keeps what goes out and to whom, `Hooks` what may come in."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from runtime.secrets import Place

ALL_EVENTS = "*"


class DeliveryState(StrEnum):
    """Where a delivery is."""

    PENDING = "pending"
    """To be sent, now or at its next try; also while it is being sent."""
    DELIVERED = "delivered"
    GIVEN_UP = "given_up"
    """The last try has failed, or the receiver said that it is gone."""


@dataclass(frozen=True, slots=True)
class EndpointRow:
    """A receiver of events. `secret` and `previous_secret` are envelopes (runtime/secrets.py). Times are ms."""

    endpoint_id: str
    tenant: str
    url: str
    events: tuple[str, ...]
    """Kinds of events, or `*` alone."""
    workflows: tuple[str, ...] | None
    """Only runs of these; None: of all."""
    description: str
    secret: str
    created_at: int
    since: int
    """What it subscribes to is as it is since then."""
    previous_secret: str | None = None
    previous_until: int | None = None
    """Until then deliveries carry a signature with the previous secret too."""
    disabled_at: int | None = None
    disabled_reason: str | None = None
    failing_since: int | None = None
    pruned_before: int = 0

    @property
    def place(self) -> Place:
        """Where its secrets open."""
        return Place(self.tenant, "endpoint", self.endpoint_id)

    def wants(self, event: str, workflow: str) -> bool:
        """Whether an event of this kind, of a run of this workflow, is to be sent here."""
        return (event in self.events or ALL_EVENTS in self.events) and (self.workflows is None or workflow in self.workflows)


@dataclass(frozen=True, slots=True)
class DeliveryRow:
    """One message for one endpoint. `id` is its `webhook-id`, `payload` its body: both the same for every try."""

    id: str
    endpoint_id: str
    run_id: str | None
    seq: int | None
    event: str
    payload: str
    state: DeliveryState
    tries: int
    """How many have begun."""
    next_at: int
    """When it is due again; of one that is being sent, when others may take it."""
    created_at: int
    ended_at: int | None = None
    answer: int | None = None
    """HTTP status of the last answer."""
    error: str | None = None
    """Why the last try failed."""


@dataclass(frozen=True, slots=True)
class Parcel:
    """A delivery that is the caller's to send until its lease ends."""

    delivery: DeliveryRow
    endpoint: EndpointRow
    traceparent: str | None = None
    """The trace of the run it speaks of, below the run's span."""


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of one try. `tries` must still be the delivery's own count, unless it was delivered: late good news counts."""

    delivery: DeliveryRow
    state: DeliveryState
    at: int
    next_at: int
    """Of a delivery that stays pending."""
    answer: int | None = None
    error: str | None = None
    disable: str | None = None
    """Why the endpoint gets nothing more."""
    untried: bool = False
    """Nothing was sent: the try does not count."""


@dataclass(frozen=True, slots=True)
class HookRow:
    """A URL that starts runs of one workflow. `digest` is the SHA-256 of its token, `secret` an envelope."""

    hook_id: str
    tenant: str
    name: str
    workflow: str
    version: str | None
    token_id: str
    digest: bytes
    verify: str
    """`none`, `standard` or `hmac-sha256-hex`."""
    header: str | None
    """Where an HMAC signature stands."""
    secret: str | None
    inputs: dict[str, Any] | None
    """Templates over `body`; None: the body is the inputs."""
    labels: dict[str, str]
    created_at: int

    @property
    def place(self) -> Place:
        """Where its secret opens."""
        return Place(self.tenant, "hook", self.hook_id)


class Outbox(Protocol):
    """Endpoints and deliveries. The deliveries of events are written by the journal itself, in the transactions of the events."""

    async def add(self, row: EndpointRow) -> None:
        """Raises LimitExceeded when the tenant has too many."""
        ...

    async def endpoint(self, tenant: str, endpoint_id: str) -> EndpointRow | None: ...

    async def endpoints(self, tenant: str) -> list[EndpointRow]:
        """Oldest first."""
        ...

    async def change(self, tenant: str, endpoint_id: str, changes: Mapping[str, Any]) -> EndpointRow | None:
        """Set these fields; None when there is no such endpoint."""
        ...

    async def rotate(self, tenant: str, endpoint_id: str, secret: str, *, until: int) -> EndpointRow | None:
        """A new secret; the one before stays in use beside it until `until` (ms)."""
        ...

    async def remove(self, tenant: str, endpoint_id: str) -> bool: ...

    async def deliveries(self, endpoint_id: str, *, state: str | None = None, before: str | None = None, limit: int = 50) -> list[DeliveryRow]:
        """Newest first, without their payloads."""
        ...

    async def post(self, row: DeliveryRow) -> None:
        """A message that speaks of no run."""
        ...

    async def redeliver(self, endpoint_id: str, delivery_id: str, now: int) -> DeliveryRow | None:
        """Send it once more, from the first try on; None when there is no such delivery."""
        ...

    async def due(self, now: int) -> list[str]:
        """Enabled endpoints that something is due for, at most 1,000."""
        ...

    async def take(self, wanted: Mapping[str, int], *, now: int, lease_ms: int) -> list[Parcel]:
        """Take up to so many due deliveries of each endpoint, and count a try of each. Of one run only the first that has not ended
        is given: the others wait for it."""
        ...

    async def settle(self, settled: Settled) -> None:
        """Note what became of a try. An endpoint for which nothing has got through in five days is disabled."""
        ...

    async def prune(self, before: int, limit: int = 1000) -> int:
        """Delete up to `limit` deliveries that ended before `before` (ms) or whose endpoint is gone. Returns how many."""
        ...


class Hooks(Protocol):
    """URLs that start runs."""

    async def add(self, row: HookRow) -> None:
        """Raises Conflict when the name is taken, LimitExceeded when the tenant has too many."""
        ...

    async def hook(self, tenant: str, hook_id: str) -> HookRow | None: ...

    async def hooks(self, tenant: str) -> list[HookRow]:
        """By name."""
        ...

    async def by_token(self, token_id: str) -> HookRow | None: ...

    async def rotate(self, tenant: str, hook_id: str, *, token_id: str, digest: bytes, secret: str | None) -> HookRow | None:
        """Another token and another secret; the ones before are worth nothing at once."""
        ...

    async def remove(self, tenant: str, hook_id: str) -> bool: ...
