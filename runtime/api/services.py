"""What the API needs from the process it runs in. Opened in the lifespan, so that nothing is pickled or shared between processes."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field

from starlette.requests import Request

from runtime.api.callers import Caller, Callers
from runtime.api.streams import Streams
from runtime.budgets.service import Budgets
from runtime.deltas.delta import Deltas
from runtime.deltas.fan import Fan
from runtime.gateway import Gateway
from runtime.gateway.conversations import Conversations
from runtime.gateway.endpoints import Endpoints
from runtime.gateway.hooks import Hooks
from runtime.keys.base_urls import BaseUrls
from runtime.keys.service import ProviderKeys
from runtime.scheduling.service import Scheduling
from runtime.secrets import open_box
from runtime.settings import Settings
from runtime.store.cached_call_protocol import CachedCalls
from runtime.store.catalog_protocol import Catalog
from runtime.store.open import Store
from runtime.tracing.spans import Tracer


@dataclass(slots=True)
class Services:
    """`ready` raises StoreUnavailable while the database does not answer; `durability` is what the store really gives."""

    gateway: Gateway
    catalog: Catalog
    settings: Settings
    ready: Callable[[], Awaitable[object]]
    durability: str = "full"
    tracer: Tracer | None = None
    schedules: Scheduling = field(kw_only=True)
    endpoints: Endpoints = field(kw_only=True)
    hooks: Hooks = field(kw_only=True)
    provider_keys: ProviderKeys = field(kw_only=True)
    conversations: Conversations = field(kw_only=True)
    deltas: Deltas = field(kw_only=True)
    cached_calls: CachedCalls = field(kw_only=True)
    budgets: Budgets = field(kw_only=True)
    callers: Callers = field(init=False)
    streams: Streams = field(init=False)

    def __post_init__(self) -> None:
        self.callers = Callers(self.catalog)
        self.streams = Streams()


def over(store: Store, gateway: Gateway, settings: Settings, deltas: Deltas | None = None, tracer: Tracer | None = None) -> Services:
    """The services over an open store; without `deltas` nobody is heard. Raises SecretUnreadable when the key file of this machine is damaged."""
    box = open_box(settings)
    return Services(
        gateway=gateway,
        catalog=store.catalog,
        settings=settings,
        ready=store.ping,
        durability=store.durability,
        tracer=tracer,
        schedules=Scheduling(gateway, store.schedules),
        endpoints=Endpoints(store.outbox, box),
        hooks=Hooks(store.hooks, gateway, box),
        provider_keys=ProviderKeys(store.provider_keys, box, BaseUrls(settings.outbound_allow)),
        conversations=Conversations(store.conversations),
        deltas=Fan() if deltas is None else deltas,
        cached_calls=store.cached_calls,
        budgets=Budgets(store.money),
    )


Opener = Callable[[], AbstractAsyncContextManager[Services]]


def services(request: Request) -> Services:
    """The services of this process."""
    found: Services = request.app.state.services
    return found


def gateway(request: Request) -> Gateway:
    """The gateway of this process."""
    return services(request).gateway


def scheduling(request: Request) -> Scheduling:
    """The schedules of this process."""
    return services(request).schedules


def caller(request: Request, scope: str, *, run_id: str | None = None) -> Caller:
    """Who is calling, once it is clear that the key has `scope`. The only way for a route to learn its tenant. Raises Forbidden."""
    found: Caller = request.scope["agentic.caller"]
    found.check(scope, run_id=run_id)
    return found
