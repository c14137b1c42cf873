"""The shapes of answers about endpoints, deliveries and hooks; see answers.py."""

from typing import Literal

from pydantic import AwareDatetime

from runtime.api.answers import Answer, NextPage, Object
from runtime.store.webhooks import DeliveryState


class Endpoint(Answer):
    """A receiver of events, without its secret."""

    endpoint_id: str
    url: str
    events: list[str]
    workflows: list[str] | None
    description: str
    enabled: bool
    disabled_at: AwareDatetime | None
    disabled_reason: str | None
    failing_since: AwareDatetime | None
    """Nothing has been delivered since then."""
    created_at: AwareDatetime


class NewEndpoint(Endpoint):
    """An endpoint whose secret was just made; it is shown this one time."""

    secret: str


class EndpointList(Answer):
    """All endpoints of the tenant."""

    endpoints: list[Endpoint]


class Delivery(Answer):
    """One message for one endpoint."""

    delivery_id: str
    """Sent as `webhook-id`."""
    event: str
    run_id: str | None
    seq: int | None
    state: DeliveryState
    tries: int
    next_at: AwareDatetime | None
    """Of a pending one: when it is tried next."""
    status: int | None
    """Of the last answer."""
    error: str | None
    created_at: AwareDatetime
    ended_at: AwareDatetime | None


class Deliveries(Answer):
    """A page of deliveries, newest first."""

    deliveries: list[Delivery]
    next_page_token: NextPage


class Hook(Answer):
    """An address that starts runs, without the address."""

    hook_id: str
    name: str
    workflow: str
    version: str | None
    verify: Literal["none", "standard", "hmac-sha256-hex"]
    header: str | None
    inputs: Object | None
    labels: dict[str, str]
    token_id: str
    """The second part of the token, to recognise it by."""
    created_at: AwareDatetime


class NewHook(Hook):
    """A hook whose address and secret were just made; they are shown this one time."""

    url: str
    secret: str | None


class HookList(Answer):
    """All hooks of the tenant."""

    hooks: list[Hook]


class Received(Answer):
    """The run a message has started. `created` is false when the same message had already started it."""

    run_id: str
    created: bool
