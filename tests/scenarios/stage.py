"""What a scenario has before it: the HTTP API of a platform, the model servers and the MCP server that platform knows, and a hand that crashes it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from tests.support.mcp_server import McpProcess, mcp_server
from tests.support.wires import Wire, wires

FUNCTIONS = "tests.scenarios.functions"
MODELS = {"openai-compatible": "local-model", "anthropic": "claude-sonnet-4-5"}
"""Both wires, and the model asked on each: one without a price, one with."""
REQUESTS_PER_MINUTE = 600
"""How often the platform may ask either wire."""
PATIENCE = 60.0
"""Seconds after which a scenario stops waiting for a platform that is well."""


@dataclass(frozen=True)
class Props:
    """The servers around a platform."""

    wires: dict[str, Wire]
    mcp: McpProcess

    @property
    def settings(self) -> dict[str, Any]:
        """The settings by which a platform knows them."""
        found: dict[str, Any] = {
            "outbound_allow": ["127.0.0.1"],
            "mcp_servers": {"numbers": {"url": self.mcp.url}},
            "provider_limits": {provider: {"requests_per_minute": REQUESTS_PER_MINUTE} for provider in self.wires},
        }
        for provider, wire in self.wires.items():
            prefix = provider.replace("-", "_")
            found |= {f"{prefix}_base_url": wire.server.url, f"{prefix}_api_key": f"key-of-{provider}"}
        return found


@asynccontextmanager
async def props() -> AsyncIterator[Props]:
    """All of them, running."""
    async with wires(*MODELS) as made, mcp_server() as mcp:
        for wire in made:
            wire.name = MODELS[wire.provider]
        yield Props({wire.provider: wire for wire in made}, mcp)


@dataclass(frozen=True)
class Stage:
    """One scenario on one wire. Everything happens in the event loop of the model servers."""

    api: httpx2.AsyncClient
    wire: Wire
    other: Wire
    """The wire a fallback leads to."""
    mcp: McpProcess
    folder: Path
    """Of the scenario alone; the processes of the platform may write into it."""
    crash: Callable[[], Awaitable[None]]
    """Kills, with SIGKILL, whoever owns runs and carries steps out; returns when the API answers again."""
    cancel_within: float
    """Seconds from the accepted cancel to the closed connections after which a scenario stops waiting for them."""

    def tool(self, name: str, **more: Any) -> dict[str, Any]:
        """The entry of a function of the scenarios."""
        return {"function": f"{FUNCTIONS}:{name}", **more}

    def agent(self, prompt: str, **more: Any) -> dict[str, Any]:
        """The body of an agent step that asks this wire."""
        return {"prompt": prompt, "model": self.wire.model, **more}

    def lines(self, name: str) -> list[str]:
        """What the tools have written into this file."""
        file = self.folder / name
        return file.read_text().splitlines() if file.exists() else []

    async def start(self, steps: dict[str, Any], given: dict[str, Any] | None = None, **definition: Any) -> str:
        """Publish a definition and start a live run of it with the given inputs; its id."""
        published = await self.api.put("/v1/workflows/scenario", json={"name": "scenario", "steps": steps, **definition})
        assert published.status_code < 300, published.text
        started = await self.api.post("/v1/workflows/scenario/runs", json={"inputs": given or {}, "mode": "live"})
        assert started.status_code == 202, started.text
        return started.json()["run_id"]

    async def run(self, run_id: str) -> dict[str, Any]:
        return (await self.api.get(f"/v1/runs/{run_id}")).json()

    async def wait(self, found: Callable[[], Awaitable[Any]]) -> Any:
        """What `found` returns once it is true. Raises TimeoutError after `PATIENCE`."""
        async with asyncio.timeout(PATIENCE):
            while not (value := await found()):  # noqa: ASYNC110 - it happens in another process
                await asyncio.sleep(0.02)
        return value

    async def until(self, run_id: str, *statuses: str) -> dict[str, Any]:
        """The run once it has one of these statuses, or has ended."""

        async def there() -> dict[str, Any] | None:
            run = await self.run(run_id)
            return run if run["status"] in {*statuses, "succeeded", "failed", "canceled"} else None

        return await self.wait(there)

    async def succeeded(self, run_id: str) -> dict[str, Any]:
        """The run once it has ended well."""
        run = await self.until(run_id)
        assert run["status"] == "succeeded", run
        return run

    async def events(self, run_id: str, *kinds: str) -> list[dict[str, Any]]:
        """The journal of a run, or its events of these kinds."""
        found = (await self.api.get(f"/v1/runs/{run_id}/events", params={"page_size": 1000})).json()["events"]
        assert [event["seq"] for event in found] == list(range(1, len(found) + 1))
        return [event for event in found if not kinds or event["event"] in kinds]

    async def calls(self, run_id: str, name: str = "model") -> list[dict[str, Any]]:
        """The finished calls of this name, as the journal has them."""
        return [event["body"] for event in await self.events(run_id, "call.finished") if event["body"]["name"] == name]

    async def question(self, run_id: str) -> dict[str, Any]:
        """The one thing the run asks a person."""
        assert (await self.until(run_id, "waiting"))["waiting_for"] == "approval"
        (found,) = (await self.api.get("/v1/approvals", params={"run_id": run_id})).json()["approvals"]
        return found

    async def decide(self, approval: dict[str, Any], **decision: Any) -> None:
        decided = await self.api.post(f"/v1/approvals/{approval['approval_id']}:decide", json=decision)
        assert decided.status_code == 200, decided.text


Scenario = Callable[[Stage], Awaitable[None]]


async def play(scenario: Scenario, stage: Stage) -> None:
    """Run the scenario between servers that have been asked nothing yet."""
    stage.wire.server.forget()
    stage.other.server.forget()
    await scenario(stage)
