"""All tools of one process that are no functions, as an agent step sees them."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from pydantic_core import from_json, to_json

from runtime.agents.tools import Tool
from runtime.artifacts.protocol import ArtifactStore
from runtime.errors import StepFailed
from runtime.ids import idempotency_key
from runtime.references import REFERENCE, reference
from runtime.settings import Settings
from runtime.toolsets import workflows
from runtime.toolsets.apis import Apis
from runtime.toolsets.network import Network
from runtime.toolsets.servers import Servers
from runtime.tracing.attempts import innermost

MAX_OFFERS = 256
"""Tools of one agent that are no functions."""
MAX_BYTES = 2 * 2**20
"""JSON of their descriptions."""


class SharedToolsets:
    """What the steps of one process share: documents, connections, sessions. For one event loop."""

    def __init__(self, settings: Settings, artifacts: ArtifactStore, open_network: Callable[[], Network]) -> None:
        """`open_network` is called when the first tool is needed: a TLS context costs 20 ms."""
        self.apis, self.servers = Apis(settings.apis), Servers(settings.mcp_servers)
        self._artifacts, self._open_network = artifacts, open_network
        self._network: Network | None = None

    @property
    def network(self) -> Network:
        """The guarded way out."""
        if self._network is None:
            self._network = self._open_network()
        return self._network

    async def keep(self, offers: list[dict[str, Any]]) -> dict[str, Any]:
        """Store offers and refer to them: the items of a map share one content, and a journal holds 150 bytes of it. Raises StepFailed `tool_invalid`."""
        data = to_json(offers)
        if len(offers) > MAX_OFFERS or len(data) > MAX_BYTES:
            message = f"the agent has {len(offers)} tools in {len(data)} bytes; at most {MAX_OFFERS} in {MAX_BYTES} can be used: name those that are needed"
            raise StepFailed("tool_invalid", message, retryable=False)
        return reference(*await self._artifacts.put(data, limit=MAX_BYTES))

    async def load(self, kept: Any) -> list[dict[str, Any]]:
        """What was stored. Raises ArtifactMissing."""
        offers: list[dict[str, Any]] = from_json(await self._artifacts.get(kept[REFERENCE]["sha256"]))
        return offers

    async def close(self) -> None:
        """End sessions, started programs and connections."""
        await self.servers.close()
        if self._network is not None:
            await self._network.transport.aclose()


@dataclass(frozen=True, slots=True)
class StepToolsets:
    """The tools of one step or item: the protocol `runtime.agents.context.Toolsets`."""

    shared: SharedToolsets
    key: str
    """The idempotency key of the step or item; each call derives its own from it."""
    traceparent: str | None = None
    """Of the step's attempt; a call that is traced itself sends its own."""
    workflows: Sequence[dict[str, Any]] = ()
    """The workflows that can be tools (StepCall.workflows)."""

    async def offers(self, entries: Sequence[dict[str, Any]]) -> Any:
        """A reference to what these entries offer. Raises StepFailed."""
        found: list[dict[str, Any]] = []
        for at, entry in enumerate(entries):
            found += [{**offer, "entry": at} for offer in await self._offers(entry)]
        return await self.shared.keep(found)

    async def _offers(self, entry: dict[str, Any]) -> list[dict[str, Any]]:
        if "workflow" in entry:
            return workflows.offers(entry, self.workflows)
        source = self.shared.servers if "mcp" in entry else self.shared.apis
        return await source.offers(entry, self.shared.network)

    async def load(self, kept: Any) -> list[dict[str, Any]]:
        """The offers a reference stands for. Raises ArtifactMissing."""
        return await self.shared.load(kept)

    def tool(self, offer: dict[str, Any]) -> Tool:
        """The tool of an offer."""
        invoke: Callable[[dict[str, Any], str], Awaitable[Any]] = partial(self._call, offer)
        child = {"workflow": offer["name"], "version": offer["version"]} if offer["kind"] == "workflow" else None
        return Tool(offer["name"], offer["description"], offer["parameters"], invoke, workflow=child)

    async def _call(self, offer: dict[str, Any], args: dict[str, Any], mark: str) -> Any:
        key = idempotency_key(self.key, f"{mark} {to_json(args).decode()}")
        trace = innermost.get() or self.traceparent
        if offer["kind"] == "mcp":
            return await self.shared.servers.call(offer, args, self.shared.network, key, trace)
        headers = {"idempotency-key": key} | ({"traceparent": trace} if trace else {})
        return await self.shared.apis.call(offer, args, self.shared.network, headers)
