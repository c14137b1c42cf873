"""A runner over a real artifact folder, calls to give it, and a small HTTP server that says exactly what a test wants."""

import asyncio
import itertools
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from runtime.artifacts.local import LocalArtifacts
from runtime.settings import Settings
from runtime.steps.context import StepServices
from runtime.steps.protocol import Item, StepCall, StepResult
from runtime.steps.runner import StepRunner
from tests.unit.steps.programs import code

sys.path.insert(0, str(Path(__file__).parent / "modules"))  # the functions that the tests' steps name

_numbers = itertools.count()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path, python_modules=["sample_steps"], outbound_allow=["127.0.0.1"], max_output_bytes=2**20)


@pytest.fixture
def services(settings: Settings) -> StepServices:
    return StepServices(settings, LocalArtifacts(settings.artifacts))


@pytest.fixture
async def runner(services: StepServices) -> AsyncIterator[StepRunner]:
    runner = StepRunner(services)
    yield runner
    await runner.close()
    assert runner.in_flight == 0


@pytest.fixture
def make_call() -> Callable[..., StepCall]:
    """A call of a step given as its one-kind mapping, such as `{"python": {...}}`; `items` are values of a map."""

    def make(spec: dict[str, Any], *, items: list[Any] | None = None, **changes: Any) -> StepCall:
        fields = {
            "run_id": "run-1",
            "epoch": 1,
            "workflow": "test",
            "definition": f"definition-{next(_numbers)}",
            "step": "work",
            "kind": next(iter(spec)),
            "spec": spec,
            "scope": {},
            "attempt": 1,
            "items": None if items is None else tuple(Item(index, 1, value) for index, value in enumerate(items)),
        }
        return StepCall(**(fields | changes))

    return make


@pytest.fixture
def run(runner: StepRunner) -> Callable[..., Any]:
    """All results of some calls, in the order they came."""

    async def run(*calls: StepCall) -> list[StepResult]:
        return [result async for batch in runner.execute(calls) for result in batch]

    return run


@dataclass
class Request:
    method: str
    target: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Web:
    """`answers` maps a path to the raw bytes to send (or a function that makes them); `requests` is what came in."""

    port: int = 0
    answers: dict[str, Any] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    held: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when a request for `/hold` has come; it is never answered."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while request := await self._read(reader):
                self.requests.append(request)
                path = request.target.partition("?")[0]
                if path == "/hold":
                    self.held.set()
                    await reader.read()  # until the client goes
                    return
                answer = self.answers.get(path, reply(404))
                writer.write(answer(request) if callable(answer) else answer)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()

    async def _read(self, reader: asyncio.StreamReader) -> Request | None:
        head = await reader.readuntil(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")[:-2]
        method, target, _ = first.split(" ")
        headers = {name.lower(): value.strip() for name, value in (line.split(":", 1) for line in lines)}
        return Request(method, target, headers, await reader.readexactly(int(headers.get("content-length", 0))))


def reply(status: int = 200, body: bytes = b"", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} Because", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@pytest.fixture
def answer() -> Callable[..., bytes]:
    return reply


@pytest.fixture
async def web() -> AsyncIterator[Web]:
    web = Web()
    server = await asyncio.start_server(web.serve, "127.0.0.1", 0)
    web.port = server.sockets[0].getsockname()[1]
    async with server:
        yield web
        server.close()


@pytest.fixture
def output(run: Callable[..., Any], make_call: Callable[..., Any]) -> Callable[..., Any]:
    """What a program gives."""

    async def output(source: str, **inputs: Any) -> Any:
        [result] = await run(make_call(code(source, **inputs), run_id=f"run-{next(_numbers)}"))
        assert result.error is None, result.error
        return result.output

    return output


@pytest.fixture
def error(run: Callable[..., Any], make_call: Callable[..., Any]) -> Callable[..., Any]:
    """How a program fails."""

    async def error(source: str, *, memory: int | None = None, timeout_ms: int = 5000, **inputs: Any) -> dict[str, Any]:
        [result] = await run(make_call(code(source, memory, **inputs), timeout_ms=timeout_ms))
        assert result.error is not None, result.output
        return result.error

    return error
