"""With which key, and at which address, a provider is asked for a tenant."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from pydantic import SecretStr

from runtime.errors import StepFailed
from runtime.limit_settings import NO_LIMITS, ProviderLimits
from runtime.settings import Settings

OPERATOR: Mapping[str, tuple[str, str]] = {
    "openai": ("openai_api_key", "openai_base_url"),
    "openai-compatible": ("openai_compatible_api_key", "openai_compatible_base_url"),
    "anthropic": ("anthropic_api_key", "anthropic_base_url"),
    "google": ("google_api_key", "google_base_url"),
    "bedrock": ("bedrock_api_key", "bedrock_base_url"),
}
"""Every provider keys are kept for, and the settings with the operator's key and address for it."""
ADDRESSED = frozenset({"bedrock", "openai-compatible"})
"""Providers without one address for everybody: the key's own must be given with it."""


@dataclass(frozen=True, slots=True)
class Credential:
    """A key goes to its own address and nowhere else: the two are kept, changed and used together."""

    provider: str
    key: SecretStr | None = None
    """None where a server asks for none."""
    base_url: str | None = None
    """None: the provider's own."""
    trusted: bool = False
    """Whether the operator chose the address. Anybody else's is reached through the guarded way out alone (runtime/steps/outbound.py)."""
    limits: ProviderLimits = NO_LIMITS
    """How much may be asked with it, besides what the settings say of the provider."""


class Credentials(Protocol):
    """Where keys come from. They are read in the process that makes the call, and in no other."""

    async def of(self, tenant: str, provider: str) -> Credential:
        """The tenant's credential for this provider. Raises StepFailed `provider_not_configured`, never retryable."""
        ...

    def doubt(self, tenant: str, provider: str) -> None:
        """The provider has refused it: it may have been replaced, so look anew when it is asked for next."""
        ...


class FromSettings:
    """The operator's own keys, from the environment or the settings file: one for all tenants."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    async def of(self, tenant: str, provider: str) -> Credential:  # noqa: ARG002 - one for all tenants
        """OPENAI_API_KEY and OPENAI_BASE_URL, and so on. A server at an address of one's own may do without a key."""
        found = self._found(provider)
        if found is None:
            raise StepFailed("provider_not_configured", _missing(provider), retryable=False)
        return found

    def doubt(self, tenant: str, provider: str) -> None:
        """The settings of a process do not change."""

    def _found(self, provider: str) -> Credential | None:
        names = OPERATOR.get(provider)
        if names is None:
            return None
        key, url = getattr(self._settings, names[0]), getattr(self._settings, names[1])
        key = key if key is not None and key.get_secret_value() else None
        enough = url is not None if provider in ADDRESSED else url is not None or key is not None
        return Credential(provider, key, url, trusted=True) if enough else None


def _missing(provider: str) -> str:
    if provider not in OPERATOR:
        return f"there is no provider {provider[:40]!a}; known: {', '.join(sorted(OPERATOR))}"
    names = OPERATOR[provider] if provider in ADDRESSED else OPERATOR[provider][:1]
    variables = " and ".join(map(_variable, names))
    return f"there is no key for {provider}: store one with `agentic provider-keys set {provider}`, or set {variables}"


def _variable(setting: str) -> str:
    choices: list[str] = Settings.model_fields[setting].validation_alias.choices  # type: ignore[union-attr, assignment]  # all of them are named so
    return choices[0]
