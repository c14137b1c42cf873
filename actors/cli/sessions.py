"""Two ways to run a workflow and follow it: over HTTP, or in this process. The commands see one interface."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any, Protocol
from urllib.parse import quote

import httpx2

from actors.cli.client import STREAM_TIMEOUT, async_client, checked, problem, unreachable
from actors.cli.connection import Connection
from actors.cli.exits import CommandError, Exit
from actors.cli.progress import RUN_ENDS

RECONNECTS = 8
"""Connections in a row that may fail before the command gives up; with the delays below that is about half a minute."""
OVER = 204
"""The status of a stream that has nothing more to give: the run has ended before."""
MAX_EVENT_BYTES = 64 * 2**20
"""The largest event a stream may carry: as large as the largest output of a step."""


class Session(Protocol):
    """What `run` and `watch` need."""

    async def publish(self, source: str) -> tuple[str, str]:
        """Make this definition the current version. Returns (workflow, content hash)."""
        ...

    async def definition(self, workflow: str) -> dict[str, Any]:
        """The current document of a workflow."""
        ...

    async def start(self, workflow: str, request: dict[str, Any]) -> str:
        """Start a run; `request` is the body of `POST /v1/workflows/{name}/runs`. Returns the run's id."""
        ...

    def events(self, run_id: str, after: int = 0, *, deltas: bool = False) -> AsyncIterator[dict[str, Any]]:
        """Every event after `after`, as they come, without a gap or a repeat; ends with the run. With `deltas`, between them those, without a `seq`."""
        ...

    async def run(self, run_id: str) -> dict[str, Any]: ...

    async def decide(self, approval_id: str, *, approved: bool, comment: str, form: Any) -> None: ...

    async def artifact(self, run_id: str, name: str) -> bytes: ...

    def differences(self) -> Iterable[str]:
        """Where a replay went another way than what was recorded, the first one first; nothing in other sessions."""
        ...

    async def kinds(self, run_id: str) -> dict[str, str]:
        """The kind of each step of a run."""
        ...

    async def value(self, run_id: str, sha256: str) -> Any:
        """A large value that the run's events refer to."""
        ...


class RemoteSession:
    """A session with a platform over HTTP."""

    def __init__(self, connection: Connection, client: httpx2.AsyncClient) -> None:
        self._connection = connection
        self._client = client
        self._over = False

    async def _send(self, method: str, path: str, **options: Any) -> httpx2.Response:
        try:
            return checked(await self._client.request(method, path, **options))
        except httpx2.TransportError as error:
            raise unreachable(self._connection, error) from error

    async def publish(self, source: str) -> tuple[str, str]:
        from runtime.definition.validation import parse

        name = parse(source).definition.name
        response = await self._send("PUT", f"/v1/workflows/{name}", content=source.encode(), headers={"Content-Type": "application/yaml"})
        return name, str(response.json()["version"])

    async def definition(self, workflow: str) -> dict[str, Any]:
        response = await self._send("GET", f"/v1/workflows/{quote(workflow, safe='')}")
        document: dict[str, Any] = response.json()["definition"]
        return document

    async def start(self, workflow: str, request: dict[str, Any]) -> str:
        response = await self._send("POST", f"/v1/workflows/{quote(workflow, safe='')}/runs", json=request)
        return str(response.json()["run_id"])

    async def events(self, run_id: str, after: int = 0, *, deltas: bool = False) -> AsyncIterator[dict[str, Any]]:
        failures = 0
        while True:
            try:
                async for event in self._stream(run_id, after, deltas=deltas):
                    failures, after = 0, event.get("seq", after)
                    yield event
                    if event["event"] in RUN_ENDS:
                        return
                if self._over:
                    return
                failures += 1  # the stream was closed before the run's end: go on where it stopped
            except httpx2.TransportError as error:
                failures += 1
                if failures > RECONNECTS:
                    raise unreachable(self._connection, error) from error
            if failures > RECONNECTS:
                raise CommandError(f"the event stream of {run_id} keeps closing", Exit.UNREACHABLE)
            await asyncio.sleep(min(5.0, 0.1 * 2**failures))

    async def _stream(self, run_id: str, after: int, *, deltas: bool) -> AsyncIterator[dict[str, Any]]:
        headers, params = {"Accept": "text/event-stream", "Last-Event-ID": str(after)}, {"deltas": "true"} if deltas else {}
        path = f"/v1/runs/{quote(run_id, safe='')}/events"
        async with self._client.stream("GET", path, headers=headers, params=params, timeout=STREAM_TIMEOUT) as response:
            self._over = response.status_code == OVER
            if self._over:
                return
            if response.is_error:
                await response.aread()
                raise problem(response)
            async for message in httpx2.EventSource(response, max_event_size=MAX_EVENT_BYTES):
                if message.data:
                    event: dict[str, Any] = json.loads(message.data)
                    yield event

    async def run(self, run_id: str) -> dict[str, Any]:
        answer: dict[str, Any] = (await self._send("GET", f"/v1/runs/{quote(run_id, safe='')}")).json()
        return answer

    async def decide(self, approval_id: str, *, approved: bool, comment: str, form: Any) -> None:
        body = {"approved": approved, "comment": comment, "form": form}
        await self._send("POST", f"/v1/approvals/{quote(approval_id, safe='')}:decide", json=body)

    async def artifact(self, run_id: str, name: str) -> bytes:
        return (await self._send("GET", f"/v1/runs/{quote(run_id, safe='')}/artifacts/{quote(name)}")).content

    def differences(self) -> Iterable[str]:
        return ()

    async def kinds(self, run_id: str) -> dict[str, str]:
        steps = (await self._send("GET", f"/v1/runs/{quote(run_id, safe='')}/steps")).json()["steps"]
        return {step["step"]: step["kind"] for step in steps}

    async def value(self, run_id: str, sha256: str) -> Any:
        return (await self._send("GET", f"/v1/runs/{quote(run_id, safe='')}/values/{quote(sha256, safe='')}")).json()


@asynccontextmanager
async def remote(connection: Connection) -> AsyncIterator[Session]:
    """A session with the platform at this address."""
    async with async_client(connection) as client:
        yield RemoteSession(connection, client)
