"""The two wire formats agents are tested on, behind one set of words, and credentials a test decides."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from pydantic import SecretStr

from runtime.agents.credentials import Credential
from runtime.errors import StepFailed
from tests.support.anthropic_server import anthropic_server
from tests.support.openai_server import OpenAIServer, openai_server

WIRES = ("openai", "openai-compatible", "anthropic")


class Given:
    """Credentials as they stand in a mapping, which a test may change at any time. Like those of the product they are kept until they
    are doubted; `asked` counts how often one was looked up.
    """

    def __init__(self, credentials: Mapping[str, Credential]) -> None:
        self.credentials = dict(credentials)
        self.asked = 0
        self._kept: dict[tuple[str, str], Credential] = {}

    async def of(self, tenant: str, provider: str) -> Credential:
        if (tenant, provider) in self._kept:
            return self._kept[tenant, provider]
        self.asked += 1
        found = self.credentials.get(f"{tenant}/{provider}") or self.credentials.get(provider)
        if found is None:
            raise StepFailed("provider_not_configured", f"there is no key for {provider}", retryable=False)
        self._kept[tenant, provider] = found
        return found

    def doubt(self, tenant: str, provider: str) -> None:
        self._kept.pop((tenant, provider), None)


@dataclass
class Wire:
    """A provider with its local server."""

    provider: str
    server: OpenAIServer
    name: str = "test-model"

    @property
    def model(self) -> str:
        return f"{self.provider}:{self.name}"

    def credential(self, key: str = "sk-secret-of-the-test") -> Credential:
        return Credential(self.provider, SecretStr(key), self.server.url)


@asynccontextmanager
async def wires(*providers: str) -> AsyncIterator[tuple[Wire, ...]]:
    """A running server for each of these providers."""
    async with AsyncExitStack() as stack:
        made = []
        for provider in providers:
            server = await stack.enter_async_context(anthropic_server() if provider == "anthropic" else openai_server())
            made.append(Wire(provider, server))
        yield tuple(made)
