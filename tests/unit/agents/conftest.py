"""An agent's surroundings: a model server that follows a script, and functions to use as tools."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from runtime.agents.context import AgentContext, AgentOutcome, Callee
from runtime.agents.loop import run_agent
from runtime.agents.providers import Providers
from runtime.errors import StepFailed
from runtime.settings import Settings
from tests.support.openai_server import OpenAIServer, openai_server


@pytest.fixture
async def server() -> AsyncIterator[OpenAIServer]:
    async with openai_server() as running:
        yield running


@pytest.fixture
async def providers(server: OpenAIServer) -> AsyncIterator[Providers]:
    made = Providers(Settings(openai_base_url=server.url, openai_api_key="sk-secret-of-the-test"))
    yield made
    await made.aclose()


class Functions:
    """Tools by name, and what they were called with."""

    def __init__(self) -> None:
        self.called: list[tuple[str, dict[str, Any]]] = []
        self._functions: dict[str, Callable[..., Any]] = {}

    def add(self, function: Callable[..., Any]) -> str:
        self._functions[f"tools:{function.__name__}"] = function
        return f"tools:{function.__name__}"

    def resolve(self, reference: str) -> Callee:
        if reference not in self._functions:
            raise StepFailed("function_not_found", f"{reference} is not there", retryable=False)
        function = self._functions[reference]

        async def invoke(args: dict[str, Any]) -> Any:
            self.called.append((function.__name__, args))
            return await function(**args)

        return Callee(function, invoke)


@pytest.fixture
def functions() -> Functions:
    return Functions()


@pytest.fixture
def live(providers: Providers, functions: Functions) -> Callable[..., Any]:
    """Run an agent against the server."""

    async def run(
        *, model: str | None = "openai:test-model", replay: Any = (), record: Any = None, observe: Any = None, timeout: float = 20, **agent: Any
    ) -> AgentOutcome:
        context = AgentContext(providers, functions.resolve, timeout=timeout, replay=replay, record=record, observe=observe)
        return await run_agent({"prompt": "the question", **agent}, mode="live", default_model=model, context=context)

    return run


@pytest.fixture
def simulated(functions: Functions) -> Callable[..., Any]:
    """Run an agent with the simulated model; there is no provider at all."""

    async def run(prompt: str, *, replay: Any = (), record: Any = None, seed: int = 0, **agent: Any) -> AgentOutcome:
        context = AgentContext(Providers(Settings()), functions.resolve, replay=replay, record=record, seed=seed)
        return await run_agent({"prompt": prompt, **agent}, mode="simulated", default_model=None, context=context)

    return run
