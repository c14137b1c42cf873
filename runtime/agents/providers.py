"""Where models come from: `provider:model` becomes a model to talk to, over one HTTP client for the whole process."""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from runtime.errors import StepFailed
from runtime.settings import Settings

if TYPE_CHECKING:  # imported where they are used: pydantic_ai costs a process 1 s and 60 MB
    import httpx2
    from pydantic_ai.models import Model

REQUEST_SECONDS = 300.0
"""Of one model request when the step has no timeout."""
CONNECT_SECONDS = 10.0
MAX_CONNECTIONS = 1_000
MAX_MODELS = 256
OPENAI_URL = "https://api.openai.com/v1"

Factory = Callable[[Settings, "httpx2.AsyncClient", str], "Model"]
"""From the settings, the shared client and the model's name to a model whose requests are never repeated by an SDK. Raises StepFailed."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A model, and who answers for it."""

    provider: str
    model: "Model"
    secrets: tuple[str, ...] = field(repr=False)
    """Texts that must not appear in any message about it."""


class Providers:
    """The models of one process, for one event loop. Building the HTTP client costs 20 ms, so there is one, made when the first model is."""

    def __init__(self, settings: Settings, factories: Mapping[str, Factory] | None = None) -> None:
        self._settings = settings
        self._factories = dict(FACTORIES if factories is None else factories)
        self._client: httpx2.AsyncClient | None = None
        self._models: OrderedDict[str, Choice] = OrderedDict()

    def choose(self, model_id: str) -> Choice:
        """The model `provider:model`. Raises StepFailed, never retryable: `model_unknown`, `provider_not_configured`."""
        if (found := self._models.get(model_id)) is not None:
            self._models.move_to_end(model_id)
            return found
        provider, colon, name = model_id.partition(":")
        factory = self._factories.get(provider)
        if not colon or not name or factory is None:
            known = ", ".join(f"{known}:<model>" for known in sorted(self._factories))
            raise StepFailed("model_unknown", f"'{model_id}' is not a model this installation knows; write {known}", retryable=False)
        choice = Choice(provider, factory(self._settings, self._shared_client(), name), self._secrets())
        self._models[model_id] = choice
        if len(self._models) > MAX_MODELS:
            self._models.popitem(last=False)
        return choice

    async def aclose(self) -> None:
        """Close the connections. The next model opens new ones."""
        client, self._client = self._client, None
        self._models.clear()
        if client is not None:
            await client.aclose()

    def _secrets(self) -> tuple[str, ...]:
        key = self._settings.openai_api_key
        return (key.get_secret_value(),) if key is not None and key.get_secret_value() else ()

    def _shared_client(self) -> "httpx2.AsyncClient":
        if self._client is None:
            import httpx2
            from pydantic_ai.models import create_async_httpx2_client

            from runtime.agents.bounded import BoundedTransport

            # A transport of our own: proxies from the environment are not used, redirects are not followed.
            limits = httpx2.Limits(max_connections=MAX_CONNECTIONS, max_keepalive_connections=MAX_CONNECTIONS)
            timeout = httpx2.Timeout(REQUEST_SECONDS, connect=CONNECT_SECONDS)
            self._client = create_async_httpx2_client(timeout=timeout, transport=BoundedTransport(httpx2.AsyncHTTPTransport(limits=limits)))
        return self._client


def openai(settings: Settings, client: "httpx2.AsyncClient", name: str) -> "Model":
    """OpenAI itself, or whatever speaks its chat completions API at `openai_base_url`."""
    from openai import AsyncOpenAI
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    key = settings.openai_api_key.get_secret_value() if settings.openai_api_key else ""
    if not key and settings.openai_base_url is None:
        raise StepFailed("provider_not_configured", "set OPENAI_API_KEY, or OPENAI_BASE_URL for a server that needs no key", retryable=False)
    # Attempts are the engine's business: an SDK that repeats requests by itself would hide them and multiply the waiting.
    sdk = AsyncOpenAI(base_url=settings.openai_base_url or OPENAI_URL, api_key=key or "none", http_client=client, max_retries=0)
    return OpenAIChatModel(name, provider=OpenAIProvider(openai_client=sdk))


FACTORIES: Mapping[str, Factory] = {"openai": openai}
"""Further providers are added here: a name and a factory."""
