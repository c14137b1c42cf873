"""What is known of each provider beside its models: its own address, and a request that costs nothing and needs a key."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pydantic import SecretStr

from runtime.agents.factories import ANTHROPIC_URL, GOOGLE_URL, OPENAI_URL


def _bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


@dataclass(frozen=True, slots=True)
class Provider:
    """One provider. The key travels in a header: addresses end up in logs."""

    base_url: str | None
    """None: every customer has another one."""
    path: str
    """Below the base URL; a GET without effects."""
    credentials: Callable[[str], dict[str, str]]
    always: Mapping[str, str]
    """Headers that have nothing to do with the key."""
    refusal: bytes | None = None
    """In the body of a 400 it means that the key is wrong."""

    def headers(self, key: SecretStr | None) -> dict[str, str]:
        """Of a request with this key."""
        return {**self.always, **({} if key is None else self.credentials(key.get_secret_value()))}


PROVIDERS: Mapping[str, Provider] = {
    "openai": Provider(OPENAI_URL, "/models", _bearer, {}),
    "openai-compatible": Provider(None, "/models", _bearer, {}),
    "anthropic": Provider(ANTHROPIC_URL, "/v1/models?limit=1", lambda key: {"x-api-key": key}, {"anthropic-version": "2023-06-01"}),
    "google": Provider(GOOGLE_URL, "/v1beta/models?pageSize=1", lambda key: {"x-goog-api-key": key}, {}, refusal=b"API_KEY_INVALID"),
    # Models are listed by another host, and a key goes to its own host alone.
    "bedrock": Provider(None, "/async-invoke?maxResults=1", _bearer, {}),
}
