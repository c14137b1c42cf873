"""`python -m bench.limiter [--items N] [--rate PER_MINUTE]`: a map of agent steps on a cluster, at a provider that may be asked so often.

What counts is seen at the provider: how many requests came, how many of them it had to refuse, and how close to the allowed speed they came.
"""

import argparse
import asyncio
import json
import sys
import time
from contextlib import ExitStack
from typing import Any
from urllib.request import urlopen

from actors.lifecycle import start_platform, stop_platform
from bench.http import HttpClient
from bench.live import live_settings
from bench.machine import description
from bench.model_server import ModelServer
from runtime.limit_settings import ProviderLimits

FLOW = {
    "name": "limited-bench",
    "inputs": {"items": {"type": "array"}},
    "steps": {
        "notes": {
            "agent": {"model": "openai:stub", "prompt": "Say something about ${{ item }}.", "limits": {"limiter_wait": "1h"}},
            "map": {"over": "inputs.items", "concurrency": 500},
        }
    },
    "outputs": {"count": "size(steps.notes.output)"},
}


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.limiter")
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--rate", type=int, default=3_000, help="requests a minute that are allowed")
    arguments = parser.parse_args()
    with ExitStack() as stack:
        model = stack.enter_context(ModelServer(seconds=1.0, rate=arguments.rate))
        settings = live_settings(stack, model, provider_limits={"openai": ProviderLimits(requests_per_minute=arguments.rate)})
        url = start_platform(settings).api
        stack.callback(stop_platform, settings)
        seconds, count = asyncio.run(run(url, (settings.home / "api-key").read_text().strip(), arguments.items))
        with urlopen(f"{model.url}/seen") as answer:
            seen = json.load(answer)
    print(description())
    took, allowed = seen["last"] - seen["first"], arguments.rate / 60
    speed = (seen["asked"] - 1) / took
    print(f"{count} items in {seconds:.1f} s; {seen['asked']} requests, {seen['refused']} refused, {seen['most']} in one minute at most")
    print(f"{speed:.2f} requests/s of {allowed:.2f} allowed: {100 * (speed / allowed - 1):+.2f} % ({took:.1f} s from the first to the last)")
    return 0


async def run(url: str, key: str, items: int) -> tuple[float, Any]:
    """Seconds the map took, and how many items it had."""
    async with HttpClient(url, key) as client:
        await client.publish(FLOW)
        started = time.perf_counter()
        result = await client.run(FLOW["name"], {"items": list(range(items))})
        return time.perf_counter() - started, result["count"]


if __name__ == "__main__":
    sys.exit(main())
