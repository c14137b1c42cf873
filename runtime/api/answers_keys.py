"""The shapes of answers about provider keys; see answers.py."""

from pydantic import AwareDatetime

from runtime.api.answers import Answer
from runtime.keys.probe import Verdict
from runtime.limit_settings import ProviderLimits


class ProviderKey(Answer):
    """A provider key, without the key."""

    provider: str
    base_url: str | None
    """Where the key is sent, and nowhere else."""
    has_key: bool | None
    """False for a server that asks for none."""
    last_four: str | None
    """Null for a key of fewer than 16 characters, as is `fingerprint`."""
    fingerprint: str | None
    """`sha256:` and the first 16 digits of the key's hash."""
    readable: bool
    """False: it was encrypted with another SECRET_KEY, or its row was changed; what only the envelope knows is null then."""
    limits: ProviderLimits | None
    """How much may be asked with it, besides what the operator's settings say; null when it is not readable."""
    created_at: AwareDatetime
    updated_at: AwareDatetime
    """When key, base URL or limits were last set."""


class ProviderKeyList(Answer):
    """All provider keys of the tenant."""

    provider_keys: list[ProviderKey]


class KeyTest(Answer):
    """What a provider makes of a key."""

    provider: str
    ok: bool
    """Whether the verdict is `accepted`."""
    verdict: Verdict
    detail: str
    """A sentence for a person; never the provider's words."""
    status: int | None
    """HTTP status of the provider's answer."""
    took_ms: int


class ModelLimits(Answer):
    """What was learned of one model, asked with one key."""

    model: str
    requests_per_minute: float | None
    """As the provider's answers say."""
    tokens_per_minute: float | None
    careful_requests_per_minute: float | None
    """The pace that refusals have taught; null when there were none of late."""
    paused_ms: int
    """How long no request goes out, because the provider does not want to be asked."""
    refusals: int
    """Since the limiter has known the key."""
    waiting: int


class ProviderLimit(Answer):
    """One provider key that is in use."""

    provider: str
    shared: bool
    """Whether it is the operator's, which all tenants use. What they do with it is not shown: the next two are null, `models` is empty."""
    limits: ProviderLimits
    """By settings and by what is stored beside the key; the lowest counts."""
    in_flight: int | None
    waiting: int | None
    """Requests that wait for the limiter."""
    models: list[ModelLimits]


class ProviderLimitList(Answer):
    """The provider keys in use."""

    provider_limits: list[ProviderLimit]


class CachedCalls(Answer):
    """Kept answers of models."""

    entries: int
    bytes: int


class CachedCallsCleared(Answer):
    """What became of them."""

    removed: int
