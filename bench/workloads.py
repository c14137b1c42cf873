"""W1 to W8: what is run, and what the number means."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol


class Client(Protocol):
    """A way to submit runs and to wait for their results."""

    async def run(self, workflow: str, inputs: Mapping[str, Any]) -> Any:
        """Start a run, wait for its end, return its output. Raises when it did not succeed."""
        ...


@dataclass(frozen=True, slots=True)
class Budget:
    """The target on 2 cores. `unit` says what the number is and which direction is better."""

    engine: float
    http: float
    unit: Literal["ms", "runs/s", "items/s", "s", "ms/step"]

    @property
    def higher_is_better(self) -> bool:
        return self.unit.endswith("/s")


@dataclass(frozen=True, slots=True)
class Workload:
    """One line of the table."""

    key: str
    title: str
    definition: dict[str, Any]
    measure: Callable[[Client, str], Awaitable[float]]
    budget: Budget
    peers: str
    warm_up: int = 10


def _python(function: str, **args: Any) -> dict[str, Any]:
    return {"python": {"function": f"bench.functions:{function}", "args": args}}


def _workflow(name: str, steps: dict[str, Any], **inputs: Any) -> dict[str, Any]:
    return {"name": name, "inputs": inputs, "steps": steps, "defaults": {"retry": {"max_attempts": 1}}}


async def _one_at_a_time(client: Client, workflow: str) -> float:
    """Median milliseconds of 100 runs in sequence."""
    times = []
    for _ in range(100):
        started = time.perf_counter()
        await client.run(workflow, {})
        times.append(time.perf_counter() - started)
    return sorted(times)[50] * 1000


def _many(runs: int, at_once: int) -> Callable[[Client, str], Awaitable[float]]:
    async def measure(client: Client, workflow: str) -> float:
        """Runs per second."""
        places = asyncio.Semaphore(at_once)

        async def one() -> None:
            async with places:
                await client.run(workflow, {})

        started = time.perf_counter()
        await asyncio.gather(*(one() for _ in range(runs)))
        return runs / (time.perf_counter() - started)

    return measure


def _wall(runs: int, inputs: Mapping[str, Any]) -> Callable[[Client, str], Awaitable[float]]:
    async def measure(client: Client, workflow: str) -> float:
        """Seconds until all runs have ended."""
        started = time.perf_counter()
        await asyncio.gather(*(client.run(workflow, inputs) for _ in range(runs)))
        return time.perf_counter() - started

    return measure


async def _items(client: Client, workflow: str) -> float:
    """Items per second of one run."""
    started = time.perf_counter()
    await client.run(workflow, {"items": list(range(1000))})
    return 1000 / (time.perf_counter() - started)


async def _per_step(client: Client, workflow: str) -> float:
    """Milliseconds per step of a chain of 100."""
    started = time.perf_counter()
    await client.run(workflow, {})
    return (time.perf_counter() - started) * 10


_NOOP = _workflow("bench-noop", {"step": _python("noop")})
_CHAIN = {f"s{n}": {**_python("noop"), **({"needs": [f"s{n - 1}"]} if n else {})} for n in range(100)}
_SLEEPS = {f"s{n}": {**_python("sleep", seconds=0.2), **({"needs": [f"s{n - 1}"]} if n else {})} for n in range(5)}
_AGENT = {
    "agent": {"model": "openai:stub", "prompt": "Say something about ${{ item }}."},
    "map": {"over": "inputs.items", "concurrency": 200},
}
_ITEMS = {"type": "array"}

WORKLOADS: tuple[Workload, ...] = (
    Workload("W1", "1-step no-op run, one at a time", _NOOP, _one_at_a_time, Budget(4, 6, "ms"), "LangGraph 4.1, DBOS 5.0"),
    Workload("W2", "500 one-step runs, 64 at a time", _NOOP, _many(500, 64), Budget(1000, 600, "runs/s"), "LangGraph 210, DBOS 166"),
    Workload(
        "W3",
        "map over 1,000 no-op items",
        _workflow("bench-map", {"map": {**_python("noop", value="${{ item }}"), "map": {"over": "inputs.items"}}}, items=_ITEMS),
        _items,
        Budget(20_000, 20_000, "items/s"),
        "LangGraph 1,143, Restate 1,041",
    ),
    Workload(
        "W4",
        "one run, 1,000 steps of 1 s",
        _workflow("bench-wide", {f"s{n}": _python("sleep", seconds=1) for n in range(1000)}),
        _wall(1, {}),
        Budget(1.15, 1.3, "s"),
        "LangGraph 1.75, Restate 1.92",
        warm_up=1,
    ),
    Workload("W5", "200 runs of 5 x 200 ms", _workflow("bench-chain5", _SLEEPS), _wall(200, {}), Budget(1.3, 1.6, "s"), "Restate 2.26", warm_up=1),
    Workload("W6", "chain of 100 no-op steps", _workflow("bench-chain", _CHAIN), _per_step, Budget(1.5, 1.5, "ms/step"), "LangGraph 1.59", warm_up=2),
    Workload(
        "W7",
        "5,000 runs at once, each 30 s in flight",
        _workflow("bench-hold", {"hold": _python("sleep", seconds=30)}),
        _wall(5000, {}),
        Budget(34, 40, "s"),
        "DBOS 72",
        warm_up=0,
    ),
    Workload(
        "W8",
        "map of 1,000 agent steps, 1 s a call, 200 at once",
        _workflow("bench-agents", {"notes": _AGENT}, items=_ITEMS),
        _wall(1, {"items": list(range(1000))}),
        Budget(6.0, 6.0, "s"),
        "",
        warm_up=0,
    ),
)
