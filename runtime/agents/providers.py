"""Where models come from: `provider:model` becomes a model to talk to, over one HTTP client for the whole process."""

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from runtime.agents.credentials import Credential, Credentials, FromSettings
from runtime.agents.factories import CONNECT_SECONDS, FACTORIES, REQUEST_SECONDS, build
from runtime.errors import StepFailed
from runtime.limit_settings import NO_LIMITS, ProviderLimits
from runtime.limits.messages import Key, Spot
from runtime.lru import Lru
from runtime.settings import Settings

if TYPE_CHECKING:  # imported where they are used: pydantic_ai costs a process 1 s and 60 MB
    import httpx2
    from pydantic_ai.models import Model

MAX_CONNECTIONS = 1_000
MAX_MODELS = 256

_Key = tuple[str, str, str, str | None, bool, str, ProviderLimits]
"""Tenant, provider, the key's fingerprint, base URL, whether that is trusted, model, limits of the key."""
_NOWHERE = Spot(Key("", "", ""), "", NO_LIMITS)


@dataclass(frozen=True, slots=True)
class Choice:
    """A model, and who answers for it."""

    provider: str
    model: "Model"
    secrets: tuple[str, ...] = field(repr=False)
    """Texts that must not appear in any message about it."""
    model_id: str = ""
    """As the definition writes it."""
    tenant: str = "default"
    spot: Spot = _NOWHERE
    """Where its requests go, for the limiter."""
    base_url: str | None = None
    """None: the provider's own address."""


class Providers:
    """The models of one process, for one event loop. Building an HTTP client costs 20 ms, so there are two: for the addresses the operator
    has chosen, and for all others. Each is made when the first model needs it.
    """

    def __init__(self, settings: Settings, credentials: Credentials | None = None, guarded: "Callable[[], httpx2.AsyncBaseTransport] | None" = None) -> None:
        """`credentials`: where keys come from; those of the settings when absent. `guarded`: makes the way out to addresses of tenants."""
        self._credentials = FromSettings(settings) if credentials is None else credentials
        self._guarded = guarded
        self._limits: dict[str, ProviderLimits] = {str(name): limits for name, limits in settings.provider_limits.items()}
        self._clients: dict[bool, httpx2.AsyncClient] = {}
        self._models: Lru[_Key, Choice] = Lru(MAX_MODELS)

    async def choose(self, model_id: str, tenant: str = "default") -> Choice:
        """The model `provider:model` with the tenant's key.

        Raises StepFailed, never retryable: `model_unknown`, `provider_not_configured`, `provider_not_installed`; and what the credentials raise.
        """
        provider, _, name = model_id.partition(":")
        if not name or provider not in FACTORIES:
            known = ", ".join(f"{known}:<model>" for known in sorted(FACTORIES))
            raise StepFailed("model_unknown", f"'{model_id}' is not a model this installation knows; write {known}", retryable=False)
        credential = await self._credentials.of(tenant, provider)
        limits = self._limits.get(provider, NO_LIMITS).lowest(credential.limits)
        key = (tenant, provider, _fingerprint(credential), credential.base_url, credential.trusted, name, limits)
        if (found := self._models.get(key)) is None:
            # An SDK's import takes a second, during which all other steps of this process would stand still.
            model = await asyncio.to_thread(build, provider, credential, self._client(credential), name)
            spot = Spot(_account(tenant, credential), name, limits)
            found = Choice(provider, model, _secrets(credential), model_id, tenant, spot, credential.base_url)
            self._models.put(key, found)
        return found

    async def renew(self, refused: Choice) -> Choice | None:
        """After a provider has refused the key of `refused`: the model with another key, when there is another by now. Raises as `choose`."""
        self._credentials.doubt(refused.tenant, refused.provider)
        self._models.drop(lambda choice: (choice.tenant, choice.provider, choice.secrets) == (refused.tenant, refused.provider, refused.secrets))
        fresh = await self.choose(refused.model_id, refused.tenant)
        return fresh if fresh.secrets != refused.secrets else None

    async def aclose(self) -> None:
        """Close the connections. The next model opens new ones."""
        clients, self._clients = self._clients, {}
        self._models = Lru(MAX_MODELS)
        for client in clients.values():
            await client.aclose()

    def _client(self, credential: Credential) -> "httpx2.AsyncClient":
        import httpx2
        from pydantic_ai.models import create_async_httpx2_client

        from runtime.agents.bounded import BoundedTransport
        from runtime.agents.direct import DirectTransport

        guard = None if credential.trusted or credential.base_url is None else self._guarded
        found = self._clients.get(guard is not None)
        if found is None:
            transport = DirectTransport(MAX_CONNECTIONS) if guard is None else guard()
            timeout = httpx2.Timeout(REQUEST_SECONDS, connect=CONNECT_SECONDS)
            found = self._clients[guard is not None] = create_async_httpx2_client(timeout=timeout, transport=BoundedTransport(transport))
        return found


def _secrets(credential: Credential) -> tuple[str, ...]:
    key = "" if credential.key is None else credential.key.get_secret_value()
    return (key,) if key else ()


def _account(tenant: str, credential: Credential) -> Key:
    """The operator's keys are limited once for all tenants, because the provider does not tell those apart either."""
    account = hashlib.sha256(f"{_fingerprint(credential)}\n{credential.base_url or ''}".encode()).hexdigest()[:32]
    return Key("" if credential.trusted else tenant, credential.provider, account)


def _fingerprint(credential: Credential) -> str:
    return hashlib.sha256("".join(_secrets(credential)).encode()).hexdigest()
