"""The same workloads on Ray alone, without durability: what the platform costs on top. Run on the same cluster in the same minute."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import ray


@ray.remote(num_cpus=0.01, max_retries=0)
def _noop_task() -> None:
    """A task per step: the naive way."""


@ray.remote(num_cpus=0, max_concurrency=10_000)
class Worker:
    """An async actor: the best a program on Ray alone can do for small steps."""

    async def noop(self) -> None: ...

    async def many(self, count: int) -> int:
        return count

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


async def measure() -> dict[str, float]:
    """Workload → the number in the workload's unit."""
    worker = Worker.remote()
    await worker.noop.remote()
    await asyncio.gather(*(_noop_task.remote() for _ in range(8)))
    cases: dict[str, Callable[[Any], Awaitable[float]]] = {
        "W1": _sequence,
        "W2": _throughput,
        "W3": _batch,
        "W4": lambda actor: _wall(actor, 1000, 1.0),
        "W5": _chains,
        "W6": _tasks,
    }
    found = {key: await case(worker) for key, case in cases.items()}
    ray.kill(worker)
    return found


async def _sequence(worker: Any) -> float:
    times = []
    for _ in range(100):
        started = time.perf_counter()
        await worker.noop.remote()
        times.append(time.perf_counter() - started)
    return sorted(times)[50] * 1000


async def _throughput(worker: Any) -> float:
    places = asyncio.Semaphore(64)

    async def one() -> None:
        async with places:
            await worker.noop.remote()

    started = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(500)))
    return 500 / (time.perf_counter() - started)


async def _batch(worker: Any) -> float:
    started = time.perf_counter()
    await asyncio.gather(*(worker.noop.remote() for _ in range(1000)))
    return 1000 / (time.perf_counter() - started)


async def _wall(worker: Any, count: int, seconds: float) -> float:
    started = time.perf_counter()
    await asyncio.gather(*(worker.sleep.remote(seconds) for _ in range(count)))
    return time.perf_counter() - started


async def _chains(worker: Any) -> float:
    async def chain() -> None:
        for _ in range(5):
            await worker.sleep.remote(0.2)

    started = time.perf_counter()
    await asyncio.gather(*(chain() for _ in range(200)))
    return time.perf_counter() - started


async def _tasks(_worker: Any) -> float:
    """A chain of 100 plain tasks, each waiting for the one before: ms per step."""
    started = time.perf_counter()
    for _ in range(100):
        await _noop_task.remote()
    return (time.perf_counter() - started) * 10
