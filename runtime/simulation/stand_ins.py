"""Models and tools that are only names: whoever answers stands before them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from runtime.agents.providers import Choice, Providers
from runtime.errors import StepFailed

if TYPE_CHECKING:
    from pydantic_ai.messages import ModelMessage, ModelResponse
    from pydantic_ai.models.function import AgentInfo

    from runtime.agents.tools import Tool


class NamedModels(Providers):
    """Every model there may be, with no key and no way to anybody."""

    def __init__(self) -> None:
        """Nothing of what real providers need is here."""

    async def choose(self, model_id: str, tenant: str = "default") -> Choice:
        from pydantic_ai.models.function import FunctionModel

        return Choice(model_id.partition(":")[0], FunctionModel(_nobody, model_name=model_id), (), model_id, tenant)

    async def renew(self, refused: Choice) -> Choice | None:  # noqa: ARG002 - the signature is that of real providers
        return None

    async def aclose(self) -> None:
        """There is nothing to close."""


def _nobody(_messages: "list[ModelMessage]", _info: "AgentInfo") -> "ModelResponse":
    raise StepFailed("no_network", "there is no model behind this name here", retryable=False)


class NamedTools:
    """Tools of APIs and servers that are known by name alone; they take any object."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names

    async def offers(self, entries: Sequence[dict[str, Any]]) -> Any:  # noqa: ARG002 - the names of all entries are in one list
        """All names, as if the first entry offered them."""
        return [{"entry": 0, "name": name} for name in self._names]

    async def load(self, kept: Any) -> list[dict[str, Any]]:
        return list(kept)

    def tool(self, offer: dict[str, Any]) -> "Tool":
        from runtime.agents.tools import Tool

        return Tool(offer["name"], offer.get("description", offer["name"]), offer.get("parameters", {"type": "object"}), _absent)


async def _absent(_args: dict[str, Any], _mark: str) -> NoReturn:
    raise StepFailed("no_network", "this tool is on the network, which a test does not reach; give it answers under `tools`", retryable=False)
