"""`python -m bench.deltas [--runs N] [--ray]`: how much later a client of the platform reads a token than a client of the model would.

The model sends the moment of sending as its text, so the age of each piece is known where it arrives. Measured is the age at a client that
reads the model's stream itself, the age at one that follows the run, and what lies between the two. Without `--ray` the platform is in
this process.
"""

import argparse
import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from statistics import quantiles

import aiohttp
import uvicorn

from actors.lifecycle import start_platform, stop_platform
from bench.live import live_settings
from bench.machine import description
from bench.model_server import DIGITS, ModelServer
from runtime.api.app import build_app
from runtime.api.keys import ADMIN, issue
from runtime.api.services import Services, over
from runtime.local import LocalPlatform
from runtime.settings import Settings

SECONDS = 2.0
"""Of one answer; a piece each 20 ms."""
FLOW = {
    "name": "delta-bench",
    "steps": {"go": {"signal": {"name": "go"}}, "say": {"agent": {"prompt": "Say something.", "model": "openai:stub"}, "needs": ["go"]}},
}


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.deltas")
    parser.add_argument("--runs", type=int, default=1, help="runs at the same time, each followed by one client")
    parser.add_argument("--ray", action="store_true", help="on a cluster of its own instead of in this process")
    arguments = parser.parse_args()
    with ExitStack() as stack:
        model = stack.enter_context(ModelServer(seconds=SECONDS))
        settings = live_settings(stack, model)
        if arguments.ray:
            url = start_platform(settings).api
            stack.callback(stop_platform, settings)
            key = (settings.home / "api-key").read_text().strip()
            direct, followed = asyncio.run(measure(url, key, model.url, arguments.runs))
        else:
            direct, followed = asyncio.run(_alone(settings, model.url, arguments.runs))
    print(description())
    show("at a client of the model", direct)
    show("at a client of the platform", followed)
    between = [after - before for after, before in zip(points(followed), points(direct), strict=True)]
    print(f"added: p50 {between[49]:.1f} ms, p95 {between[94]:.1f} ms")
    return 0


async def _alone(settings: Settings, model: str, runs: int) -> tuple[list[float], list[float]]:
    async with LocalPlatform(settings) as platform, served(platform) as (url, key):
        return await measure(url, key, model, runs)


async def measure(url: str, key: str, model: str, runs: int) -> tuple[list[float], list[float]]:
    """The ages of all pieces in ms: read from the model itself, and by following runs. The first round of each is not counted."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=300)) as session:
        found = []
        for one in (lambda: directly(session, model), lambda: by_run(session, url, {"Authorization": f"Bearer {key}"})):
            await one()
            found.append([age for ages in await asyncio.gather(*(one() for _ in range(runs))) for age in ages])
    return found[0], found[1]


async def directly(session: aiohttp.ClientSession, model: str) -> list[float]:
    """Ask the model for a stream."""
    body = {"model": "stub", "stream": True, "messages": [{"role": "user", "content": "Say something."}]}
    async with session.post(f"{model}/chat/completions", json=body) as answer:
        texts = [(time.monotonic_ns(), choice["delta"].get("content", "")) async for data in events(answer) for choice in data.get("choices", ())]
    return ages(texts)


async def by_run(session: aiohttp.ClientSession, url: str, headers: dict[str, str]) -> list[float]:
    """Start a run, follow it, and let it ask the model."""
    async with session.put(f"{url}/v1/workflows/{FLOW['name']}", json=FLOW, headers=headers) as answer:
        answer.raise_for_status()
    async with session.post(f"{url}/v1/workflows/{FLOW['name']}/runs", json={"mode": "live"}, headers=headers) as answer:
        answer.raise_for_status()
        run = f"{url}/v1/runs/{(await answer.json())['run_id']}"
    texts: list[tuple[int, str]] = []
    async with session.get(f"{run}/events", params={"deltas": "true"}, headers=headers | {"Accept": "text/event-stream"}) as stream:
        async for data in events(stream):
            if data["event"] == "step.delta":
                texts.append((time.monotonic_ns(), data["body"]["text"]))
            elif data["event"] == "step.waiting":
                async with session.post(f"{run}/signals/go", json={}, headers=headers) as answer:
                    answer.raise_for_status()
            elif data["event"] == "run.failed":
                raise RuntimeError(str(data))
    return ages(texts)


async def events(answer: aiohttp.ClientResponse) -> AsyncIterator[dict]:
    """The JSON of each event."""
    async for line in answer.content:
        if line.startswith(b"data: {"):
            yield json.loads(line.removeprefix(b"data: "))


def ages(texts: list[tuple[int, str]]) -> list[float]:
    """How old each piece was when the last of it arrived, in ms. Texts are cut elsewhere: several pieces come as one, and an end that might begin
    a secret comes with the next.
    """
    found, rest = [], ""
    for at, text in texts:
        rest += text
        while len(rest) >= DIGITS:
            found.append((at - int(rest[:DIGITS])) / 1e6)
            rest = rest[DIGITS:]
    return found


def points(values: list[float]) -> list[float]:
    """The percentiles, the first of which is p1."""
    return quantiles(values, n=100, method="inclusive")


def show(what: str, values: list[float]) -> None:
    """Print one row."""
    found = points(values)
    print(f"{what:28} {len(values):6} pieces   p50 {found[49]:6.1f} ms   p95 {found[94]:6.1f} ms   max {max(values):6.1f} ms")


@asynccontextmanager
async def served(platform: LocalPlatform) -> AsyncIterator[tuple[str, str]]:
    """The API of a platform in this process: its address and a key."""

    @asynccontextmanager
    async def opened() -> AsyncIterator[Services]:
        yield over(platform.store, platform.gateway, platform.settings, platform.deltas)

    async with AsyncExitStack() as stack:
        app = build_app(opened, platform.settings)
        await stack.enter_async_context(app.router.lifespan_context(app))
        server = uvicorn.Server(uvicorn.Config(app, port=platform.settings.api_port, lifespan="off", log_level="error"))
        running = asyncio.create_task(server.serve())
        while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.01)
        key, _ = await issue(platform.store.catalog, "default", name="bench", scopes=(ADMIN,), now=platform.gateway.clock.now())
        try:
            yield f"http://127.0.0.1:{platform.settings.api_port}", key.text
        finally:
            server.should_exit = True
            await running


if __name__ == "__main__":
    raise SystemExit(main())
