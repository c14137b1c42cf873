"""The MCP servers of one process: one session for each, opened when the first step needs it, opened anew when it has ended."""

import asyncio
import hashlib
import importlib
import json
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import structlog

from runtime.agents.tools import ToolRefused
from runtime.definition.foreign import Refused, parameters_of, readable, unique_names
from runtime.errors import StepFailed
from runtime.tool_settings import McpServer
from runtime.toolsets.network import Network

if TYPE_CHECKING:  # it imports the SDK
    from runtime.toolsets.connection import Connection

FRESH_SECONDS = 60.0
"""A list of tools is asked for anew when it is older than this."""
LIST_SECONDS = 30.0
MAX_DESCRIPTION = 2_000
MAX_OFFERS = 256
"""Choices of tools whose offers are kept."""
_MODULE = "runtime.toolsets.connection"

log = structlog.get_logger(__name__)


class Servers:
    """Every registered server by name."""

    def __init__(self, registered: Mapping[str, McpServer]) -> None:
        self._servers = {name: Server(name, settings) for name, settings in registered.items()}

    async def offers(self, entry: dict[str, Any], network: Network) -> list[dict[str, Any]]:
        """What an entry `{mcp, tools}` offers. Raises StepFailed."""
        return await self.named(entry["mcp"]).offers(entry.get("tools", []), network)

    async def call(self, offer: dict[str, Any], args: dict[str, Any], network: Network, key: str, trace: str | None = None) -> Any:
        """What a tool gives back. Raises ToolRefused, StepFailed."""
        return await self.named(offer["server"]).call(offer["tool"], args, network, key, trace)

    def named(self, name: str) -> "Server":
        """The server of this name. Raises StepFailed `tool_not_found`."""
        if name not in self._servers:
            known = ", ".join(sorted(self._servers)) or "none"
            raise StepFailed("tool_not_found", f"there is no MCP server '{name}' here; there is: {known}", retryable=False)
        return self._servers[name]

    async def close(self) -> None:
        """End all sessions and the programs that were started."""
        await asyncio.gather(*(server.close() for server in self._servers.values()))


class Server:
    """One server."""

    def __init__(self, name: str, settings: McpServer) -> None:
        self._name, self._settings = name, settings
        self._lock = asyncio.Lock()
        self._connection: Connection | None = None
        self._tools: list[dict[str, Any]] = []
        self._offers: dict[tuple[str, ...], list[dict[str, Any]]] = {}
        """Of these tools, by what was wanted: made once for all items of a map."""
        self._listed_at: float | None = None

    async def offers(self, wanted: list[str], network: Network) -> list[dict[str, Any]]:
        """The tools `wanted`, or all that the operator allows when there are none. Raises StepFailed."""
        found = await self.tools(network)
        if (kept := self._offers.get(tuple(wanted))) is not None:
            return kept
        tools = {tool["name"]: tool for tool in found if not self._settings.tools or tool["name"] in self._settings.tools}
        if missing := [name for name in wanted if name not in tools]:
            known = ", ".join(sorted(tools)[:20]) or "none"
            raise StepFailed("tool_not_found", f"the MCP server '{self._name}' has no tool '{missing[0]}'; it has: {readable(known, 500)}", retryable=False)
        chosen = [tools[name] for name in wanted] if wanted else list(tools.values())
        names = unique_names([f"{self._name}_{tool['name']}" for tool in chosen])
        offers = [offer for tool, name in zip(chosen, names, strict=True) if (offer := self._offer(tool, name, named=bool(wanted))) is not None]
        if len(self._offers) < MAX_OFFERS:
            self._offers[tuple(wanted)] = offers
        return offers

    async def tools(self, network: Network) -> list[dict[str, Any]]:
        """All tools as the server describes them, at most a minute old. Raises StepFailed."""
        await self._connected(network, fresh=True)
        return self._tools

    async def call(self, tool: str, args: dict[str, Any], network: Network, key: str, trace: str | None = None) -> Any:
        """What a tool gives back. A session that has ended is opened anew, once. Raises ToolRefused, StepFailed `timeout`, `tool_unavailable`."""
        gone = (await _sdk()).Gone
        for _ in range(2):
            connection = await self._connected(network)
            try:
                async with asyncio.timeout(self._settings.timeout):
                    return await connection.call(tool, args, key, trace)
            except TimeoutError as error:
                raise StepFailed("timeout", f"the tool '{tool}' of the MCP server '{self._name}' took longer than {self._settings.timeout:g} s") from error
            except gone:
                await self._drop(connection)
        raise self._unavailable()

    async def close(self) -> None:
        """End the session."""
        async with self._lock:
            connection, self._connection = self._connection, None
            if connection is not None:
                await connection.close()

    async def _connected(self, network: Network, *, fresh: bool = False) -> "Connection":
        """A session whose tools are known and are the ones the operator has accepted."""
        module = await _sdk()
        if not self._due(fresh=fresh) and self._connection is not None:
            return self._connection  # without waiting for whoever is looking at the tools
        async with self._lock:
            for _ in range(2):
                if self._connection is None or not self._connection.alive:
                    self._listed_at = None
                    self._connection = await module.Connection.open(self._name, self._settings, network)
                try:
                    if self._due(fresh=fresh):
                        await self._list(self._connection)
                except module.Gone:
                    await self._connection.close()
                    continue
                return self._connection
        raise self._unavailable()

    def _due(self, *, fresh: bool) -> bool:
        """Whether the tools have to be asked for."""
        alive = self._connection is not None and self._connection.alive
        return not alive or self._listed_at is None or (fresh and time.monotonic() - self._listed_at > FRESH_SECONDS)

    async def _list(self, connection: "Connection") -> None:
        try:
            async with asyncio.timeout(LIST_SECONDS):
                tools = await connection.tools()
        except (TimeoutError, ToolRefused) as error:
            said = str(error) or "it does not answer"
            raise StepFailed("tool_unavailable", f"the MCP server '{self._name}' does not tell its tools: {said}") from error
        pinned, found = self._settings.tools_sha256, tools_sha256(tools)
        if pinned is not None and pinned != found:
            self._listed_at = None
            log.warning("mcp_tools_changed", server=self._name, accepted=pinned, found=found)
            message = f"the tools of the MCP server '{self._name}' are not those the operator has accepted (tools_sha256): look at `agentic tools list`"
            raise StepFailed("tools_changed", message, retryable=False)
        self._tools, self._offers, self._listed_at = tools, {}, time.monotonic()

    async def _drop(self, connection: "Connection") -> None:
        """Forget a session that has ended, unless another one stands in its place."""
        async with self._lock:
            if self._connection is connection:
                self._connection = None
                await connection.close()

    def _offer(self, tool: dict[str, Any], name: str, *, named: bool) -> dict[str, Any] | None:
        try:
            parameters = parameters_of(tool["input_schema"])
        except Refused as reason:
            if named:
                raise StepFailed("tool_invalid", f"the tool '{tool['name']}' of '{self._name}' cannot be used: {reason}", retryable=False) from reason
            log.warning("mcp_tool_left_out", server=self._name, tool=tool["name"], reason=str(reason))
            return None
        description = readable(tool["description"], MAX_DESCRIPTION) or tool["name"]
        return {"kind": "mcp", "name": name, "description": description, "parameters": parameters, "server": self._name, "tool": tool["name"]}

    def _unavailable(self) -> StepFailed:
        return StepFailed("tool_unavailable", f"the MCP server '{self._name}' ends every session")


def tools_sha256(tools: list[dict[str, Any]]) -> str:
    """The hash of what a server says of its tools, whatever their order: names, descriptions and schemas, to the letter."""
    ordered = sorted(tools, key=lambda tool: str(tool["name"]))
    return hashlib.sha256(json.dumps(ordered, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()).hexdigest()


async def _sdk() -> Any:
    """The module that imports the SDK, away from the event loop. Raises StepFailed `tool_not_found` where the SDK is not installed."""
    try:
        return sys.modules.get(_MODULE) or await asyncio.to_thread(importlib.import_module, _MODULE)
    except ModuleNotFoundError as error:
        message = "MCP servers need the extra `mcp` of this package: pip install 'agentic-workflows[mcp]'"
        raise StepFailed("tool_not_found", message, retryable=False) from error
