"""The shapes of answers about provider keys; see answers.py."""

from pydantic import AwareDatetime

from runtime.api.answers import Answer
from runtime.keys.probe import Verdict


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
    created_at: AwareDatetime
    updated_at: AwareDatetime
    """When key or base URL were last set."""


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
