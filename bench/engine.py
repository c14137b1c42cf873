"""The engine column: a Ray driver inside the cluster that submits through the gateway, as the batch driver and the API replicas do.

`python -m bench.engine W1 W2 …`, in the environment of a running platform; prints one JSON line per workload.
"""

import asyncio
import json
import os
import sys
from collections.abc import Mapping
from typing import Any

from bench.machine import Meter
from bench.workloads import WORKLOADS, Client, Workload

REPEATS = int(os.environ.get("BENCH_REPEATS", "3"))


class EngineClient:
    """Submits and waits through the gateway, in this process."""

    def __init__(self, gateway: Any) -> None:
        self._gateway = gateway

    async def run(self, workflow: str, inputs: Mapping[str, Any]) -> Any:
        from runtime.gateway.starts import StartRequest

        started = await self._gateway.start("default", StartRequest(workflow, dict(inputs), mode="live"))
        row = await self._gateway.wait("default", started.run.run_id, 120, known=started.run)
        if row.status != "succeeded":
            raise RuntimeError(f"{workflow} ended {row.status}: {row.error}")
        return row.result


async def repeat(client: Client, workload: Workload, roots: list[int]) -> dict[str, Any]:
    """Warm up, then measure three times."""
    name = workload.definition["name"]
    inputs = {"items": [1, 2, 3]} if workload.definition["inputs"] else {}
    for _ in range(workload.warm_up):
        await client.run(name, inputs)
    times = 1 if workload.key == "W7" else REPEATS
    async with Meter(roots) as usage:
        values = [await workload.measure(client, name) for _ in range(times)]
    return {"workload": workload.key, "values": values, "pss_mb": usage.pss_mb, "cpu": usage.cpu, "others": usage.others}


async def measure(keys: list[str], roots: list[int]) -> None:
    """Measure these workloads and print what came out."""
    from actors.ingress import replica_services
    from runtime.settings import Settings

    async with replica_services(Settings()) as services:
        client = EngineClient(services.gateway)
        for workload in (workload for workload in WORKLOADS if workload.key in keys):
            await services.gateway.publish("default", workload.definition)
            print(json.dumps(await repeat(client, workload, [*roots, os.getpid()])), flush=True)


async def raw() -> None:
    """The same on Ray alone."""
    from bench import raw_ray

    print(json.dumps({"raw": await raw_ray.measure()}), flush=True)


def main() -> None:
    """Join the cluster and measure what the arguments name."""
    import ray

    from actors.names import NAMESPACE

    roots = [int(pid) for pid in os.environ.get("BENCH_ROOTS", "").split(",") if pid]
    ray.init(address=os.environ["RAY_ADDRESS"], namespace=NAMESPACE, log_to_driver=False)
    asyncio.run(raw() if sys.argv[1:] == ["raw"] else measure(sys.argv[1:], roots))
    ray.shutdown()


if __name__ == "__main__":
    main()
