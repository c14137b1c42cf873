"""With which key, and at which address, a provider is asked for a tenant."""

from dataclasses import dataclass
from typing import Protocol

from pydantic import SecretStr

from runtime.errors import StepFailed
from runtime.settings import Settings


@dataclass(frozen=True, slots=True)
class Credential:
    """A key goes to its own address and nowhere else: the two are kept, changed and used together."""

    provider: str
    key: SecretStr | None = None
    """None where a server asks for none."""
    base_url: str | None = None
    """None: the provider's own."""


class Credentials(Protocol):
    """Where keys come from. They are read in the process that makes the call, and in no other."""

    async def of(self, tenant: str, provider: str) -> Credential:
        """The tenant's credential for this provider. Raises StepFailed `provider_not_configured`, never retryable."""
        ...


class FromSettings:
    """The operator's own keys, from the environment or the settings file: one for all tenants."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    async def of(self, tenant: str, provider: str) -> Credential:  # noqa: ARG002 - one for all tenants
        """OPENAI_API_KEY and OPENAI_BASE_URL. A server at an address of one's own may do without a key."""
        key, url = self._settings.openai_api_key, self._settings.openai_base_url
        if provider != "openai" or (url is None and (key is None or not key.get_secret_value())):
            raise StepFailed("provider_not_configured", f"there is no key for {provider}", retryable=False)
        return Credential(provider, key, url)
