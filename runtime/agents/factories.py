"""One function for each kind of provider: from a credential and a name to a model that makes each request once.

SDKs repeat requests by themselves, and read keys, addresses and proxies from the environment, unless they are told not to. Attempts are the
engine's business, and a key goes where its credential says.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from runtime.agents.credentials import Credential
from runtime.errors import StepFailed

if TYPE_CHECKING:  # imported where they are used: pydantic_ai costs a process 1 s and 60 MB, each SDK a few hundred milliseconds more
    import httpx2
    from pydantic_ai.models import Model

REQUEST_SECONDS = 300.0
"""Of one model request when the step has no timeout."""
CONNECT_SECONDS = 10.0
OPENAI_URL = "https://api.openai.com/v1"
ANTHROPIC_URL = "https://api.anthropic.com"
GOOGLE_URL = "https://generativelanguage.googleapis.com"
BEDROCK_CONNECTIONS = 50
"""Of one Bedrock client, each of which a thread waits for."""

Make = Callable[[Credential, "httpx2.AsyncClient", str], "Model"]


@dataclass(frozen=True, slots=True)
class Factory:
    """How the models of one provider are made. `make` raises StepFailed `provider_not_configured`, or ImportError without its extra."""

    make: Make
    extra: str | None = None
    """The extra of this package that brings its SDK; None when it always is there."""
    timed: bool = True
    """Whether its SDK can be told how long a request may take; we stop waiting in any case."""


def build(provider: str, credential: Credential, client: "httpx2.AsyncClient", name: str) -> "Model":
    """The model. Raises StepFailed, never retryable: `provider_not_installed`, `provider_not_configured`."""
    factory = FACTORIES[provider]
    try:
        return factory.make(credential, client, name)
    except ImportError as error:
        if factory.extra is None:
            raise
        message = f"{provider} needs an extra that is not installed: agentic-workflows[{factory.extra}]"
        raise StepFailed("provider_not_installed", message, retryable=False) from error


def _openai(credential: Credential, client: "httpx2.AsyncClient", name: str) -> "Model":
    """OpenAI itself, or a gateway to it at another address."""
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    return OpenAIChatModel(name, provider=OpenAIProvider(openai_client=_openai_sdk(credential, client, OPENAI_URL)))


def _openai_compatible(credential: Credential, client: "httpx2.AsyncClient", name: str) -> "Model":
    """Whatever else speaks chat completions: vLLM, Ollama, Ray Serve LLM. Nothing is asked of it that only OpenAI can do."""
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai_compatible import OpenAICompatibleProvider

    if credential.base_url is None:
        raise StepFailed("provider_not_configured", "an OpenAI-compatible server needs its base URL", retryable=False)
    sdk = _openai_sdk(credential, client, credential.base_url)
    return OpenAIChatModel(name, provider=OpenAICompatibleProvider("openai-compatible", openai_client=sdk))


def _openai_sdk(credential: Credential, client: "httpx2.AsyncClient", usual: str) -> Any:
    from openai import AsyncOpenAI

    from runtime.agents.completions import send_as_given

    # Organization and project are headers the SDK would take from the environment.
    sdk = AsyncOpenAI(base_url=credential.base_url or usual, api_key=_key(credential) or "none", http_client=client, max_retries=0)
    sdk.organization = sdk.project = None
    send_as_given(sdk)
    return sdk


def _anthropic(credential: Credential, client: "httpx2.AsyncClient", name: str) -> "Model":
    from anthropic import AsyncAnthropic
    from pydantic_ai.models.anthropic import AnthropicModel
    from pydantic_ai.providers.anthropic import AnthropicProvider

    key = _key(credential) or "none"
    sdk = AsyncAnthropic(base_url=credential.base_url or ANTHROPIC_URL, api_key=key, http_client=client, max_retries=0)
    sdk.auth_token = None  # the SDK would send ANTHROPIC_AUTH_TOKEN of the environment along
    return AnthropicModel(name, provider=AnthropicProvider(anthropic_client=sdk))


def _google(credential: Credential, client: "httpx2.AsyncClient", name: str) -> "Model":
    """The Gemini API."""
    from google.genai.types import HttpRetryOptions
    from pydantic_ai.models.google import GoogleModel
    from pydantic_ai.providers.google import GoogleProvider

    once = HttpRetryOptions(attempts=1)
    url = credential.base_url or GOOGLE_URL
    return GoogleModel(name, provider=GoogleProvider(api_key=_key(credential) or "none", http_client=client, base_url=url, retry_options=once))


def _bedrock(credential: Credential, _client: "httpx2.AsyncClient", name: str) -> "Model":
    """Bedrock's Converse API with an API key. Its SDK has an HTTP client of its own, whose requests run in threads."""
    from pydantic_ai.models.bedrock import BedrockConverseModel
    from pydantic_ai.providers.bedrock import BedrockProvider

    key = _key(credential)
    if not key or credential.base_url is None:
        message = "Bedrock needs an API key and the base URL of its region, such as https://bedrock-runtime.eu-central-1.amazonaws.com"
        raise StepFailed("provider_not_configured", message, retryable=False)
    return BedrockConverseModel(name, provider=BedrockProvider(bedrock_client=_bedrock_client(key, credential.base_url)))


def _bedrock_client(key: str, url: str) -> Any:
    import botocore.session
    from botocore.config import Config
    from botocore.tokens import FrozenAuthToken

    class KeySession(botocore.session.Session):
        """Signs with this key and never with the credentials of the machine, which are not the tenant's."""

        def get_auth_token(self, **_options: Any) -> Any:
            return FrozenAuthToken(key)

        def get_credentials(self) -> None:
            return None

    config = Config(
        signature_version="bearer",
        retries={"total_max_attempts": 1},
        proxies={},
        read_timeout=REQUEST_SECONDS,
        connect_timeout=CONNECT_SECONDS,
        max_pool_connections=BEDROCK_CONNECTIONS,
    )
    return KeySession().create_client("bedrock-runtime", region_name=region_of(url), endpoint_url=url, config=config)


def region_of(url: str) -> str:
    """The region in the host of an AWS address, `us-east-1` when there is none: with an API key nothing is signed by it."""
    host = url.partition("://")[2].partition("/")[0]
    parts = host.split(".")
    return parts[1] if host.endswith(".amazonaws.com") and len(parts) > 3 else "us-east-1"


def _key(credential: Credential) -> str:
    return "" if credential.key is None else credential.key.get_secret_value()


FACTORIES: Mapping[str, Factory] = {
    "openai": Factory(_openai),
    "openai-compatible": Factory(_openai_compatible),
    "anthropic": Factory(_anthropic, "anthropic"),
    "google": Factory(_google, "google"),
    "bedrock": Factory(_bedrock, timed=False),
}
"""By the word before the colon of `provider:model`."""
