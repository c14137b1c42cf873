"""One session with an MCP server, held open by a task of its own. Imported only where a step needs a server: the SDK costs a process 0.7 s and 22 MB."""

import asyncio
import logging
import sys
from contextlib import AbstractAsyncContextManager
from typing import Any

import httpx2
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError
from mcp_types import CONNECTION_CLOSED, INVALID_REQUEST, CallToolRequest, CallToolRequestParams, CallToolResult, Implementation, PaginatedRequestParams
from pydantic import ValidationError

from runtime.agents.tools import ToolRefused
from runtime.definition.foreign import readable
from runtime.errors import StepFailed
from runtime.tool_settings import McpServer, SecretMissing, SecretPlace
from runtime.toolsets.contents import value_of
from runtime.toolsets.network import CONNECT_SECONDS, Network
from runtime.toolsets.transport import LOST, MAX_ANSWER, REFUSED, UNSENT, McpTransport, kind_of
from runtime.toolsets.watched import watched
from runtime.version import VERSION

OPEN_SECONDS = 30.0
START_SECONDS = 120.0
"""Until a server has agreed to a session; a program may have to be fetched and compiled before it does."""
CLOSE_SECONDS = 10.0
MAX_PAGES = 20
MAX_TOOLS = 256
IDEMPOTENCY = "agentic-workflows/idempotency-key"
"""In the `_meta` of a call: the same for all attempts of the call."""
TRACE = "traceparent"
"""In the `_meta` of a call: its place in the run's trace (W3C Trace Context)."""

# The SDK logs what servers send, whole and with a stack trace; what matters of it is in the errors it raises.
logging.getLogger("mcp").setLevel(logging.CRITICAL)


class Gone(Exception):
    """The session is over, and the server has not seen the request: it may be sent again in another session."""


class Connection:
    """An open session."""

    def __init__(self, name: str, server: McpServer, network: Network) -> None:
        self._name = name
        transport = _remote(server, network) if server.url is not None else _program(server)
        self._client = Client(watched(transport, self._end), client_info=Implementation(name="agentic-workflows", version=VERSION), cache=None)
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._closing = asyncio.Event()
        self._task = asyncio.create_task(self._hold(), name=f"mcp {name}")

    @classmethod
    async def open(cls, name: str, server: McpServer, network: Network) -> "Connection":
        """Connect, in whichever version of the protocol the server speaks. Raises StepFailed `tool_unavailable`, retryable."""
        connection = cls(name, server, network)
        try:
            async with asyncio.timeout(OPEN_SECONDS if server.command is None else START_SECONDS):
                await asyncio.shield(connection._ready)
        except TimeoutError as error:
            raise StepFailed("tool_unavailable", f"the MCP server '{name}' does not answer") from error
        finally:
            if not connection.alive:
                await connection.close()
        return connection

    @property
    def alive(self) -> bool:
        """Whether there is a session."""
        opened = self._ready.done() and not self._ready.cancelled() and self._ready.exception() is None
        return opened and not self._closing.is_set() and not self._task.done()

    async def tools(self) -> list[dict[str, Any]]:
        """All tools of the server as it describes them: `{name, description, input_schema}`. Raises StepFailed, Gone."""
        found: list[dict[str, Any]] = []
        cursor: str | None = None
        for _ in range(MAX_PAGES):
            page = await self._asked(self._client.session.list_tools(params=PaginatedRequestParams(cursor=cursor) if cursor else None))
            found += [{"name": tool.name, "description": tool.description or tool.title or "", "input_schema": tool.input_schema} for tool in page.tools]
            cursor = page.next_cursor
            if cursor is None or len(found) > MAX_TOOLS:
                break
        if cursor is not None or len(found) > MAX_TOOLS:
            raise StepFailed("tool_invalid", f"the MCP server '{self._name}' has more than {MAX_TOOLS} tools, or no end of them", retryable=False)
        return found

    async def call(self, tool: str, args: dict[str, Any], key: str, trace: str | None = None) -> Any:
        """What a tool gives back. Raises ToolRefused, Gone, or StepFailed `tool_unavailable` when it is not known whether the server has done it."""
        # Not the SDK's own call_tool: it checks results against the server's schema with patterns that can take for ever.
        params = CallToolRequestParams(name=tool, arguments=args, _meta={IDEMPOTENCY: key} | ({TRACE: trace} if trace else {}))
        return value_of(await self._asked(self._client.session.send_request(CallToolRequest(params=params), CallToolResult)))

    async def close(self) -> None:
        """End the session, and the program if one was started."""
        self._closing.set()
        if not self._ready.done():
            self._task.cancel()
        await asyncio.wait([self._task], timeout=CLOSE_SECONDS)
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    def _end(self) -> None:
        """Nothing more comes from the server: whoever waits for an answer is told by the SDK, and nobody else begins to."""
        self._closing.set()

    async def _hold(self) -> None:
        try:
            async with self._client:
                self._ready.set_result(None)
                await self._closing.wait()
        except Exception as error:  # noqa: BLE001 - whatever the SDK raises: those who wait are told, and the next call opens another session
            if not self._ready.done():
                self._ready.set_exception(_unavailable(self._name, error))
                self._ready.exception()  # whoever waited may have gone
        finally:
            self._ready.cancel()

    async def _asked(self, request: Any) -> Any:
        try:
            return await request
        except MCPError as error:
            raise self._failed(error) from error
        except ValidationError as error:
            raise ToolRefused(f"the MCP server '{self._name}' gave an answer that does not fit the protocol") from error
        except RuntimeError as error:  # the SDK's word for a session that has not begun or has just ended
            raise Gone from error

    def _failed(self, error: MCPError) -> Exception:
        kind = kind_of(error.data)
        message = readable(str(error), 500)
        if kind == UNSENT or (error.code == INVALID_REQUEST and error.message == "Session terminated"):
            return Gone()
        if kind == LOST or (error.code == CONNECTION_CLOSED and not error.message.startswith("SSE stream failed")):
            return StepFailed("tool_unavailable", f"the MCP server '{self._name}' has gone in the middle of a request")
        return ToolRefused(f"the MCP server '{self._name}' refuses: {message}")


def _remote(server: McpServer, network: Network) -> AbstractAsyncContextManager[Any]:
    url = network.checked(server.url or "")
    headers = {"authorization": f"Bearer {_read(server.token)}"} if server.token is not None else {}
    timeout = httpx2.Timeout(None, connect=CONNECT_SECONDS)
    client = httpx2.AsyncClient(transport=McpTransport(network.transport), headers=headers, timeout=timeout, trust_env=False)
    return streamable_http_client(str(url), http_client=client, max_sse_event_size=MAX_ANSWER)


def _program(server: McpServer) -> AbstractAsyncContextManager[Any]:
    program, *args = server.command or [""]
    env = {name: value if isinstance(value, str) else _read(value) for name, value in server.env.items()}
    return stdio_client(StdioServerParameters(command=program, args=args, env=env, cwd=server.folder), errlog=sys.__stderr__ or sys.stderr)


def _read(place: SecretPlace) -> str:
    try:
        return place.read()
    except SecretMissing as error:
        raise StepFailed("tool_unavailable", "the operator's secret for this MCP server cannot be read", retryable=False) from error


def _unavailable(name: str, error: Exception) -> StepFailed:
    """The reason the SDK buries in groups of exceptions."""
    inner: BaseException = error
    while isinstance(inner, BaseExceptionGroup):
        inner = inner.exceptions[0]
    if isinstance(inner, StepFailed):
        return inner
    refused = isinstance(inner, MCPError) and kind_of(inner.data) == REFUSED
    said = readable(str(inner), 300) or type(inner).__name__
    return StepFailed("tool_unavailable", f"the MCP server '{name}' cannot be used: {said}", retryable=not refused)
