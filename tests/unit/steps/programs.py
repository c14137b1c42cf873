"""Programs of code steps, and the workers that run them."""

import asyncio
from collections.abc import Callable
from typing import Any

import psutil


def code(source: str, memory: int | None = None, **inputs: Any) -> dict[str, Any]:
    return {"code": {"source": source, "inputs": inputs} | ({} if memory is None else {"memory": memory})}


def workers() -> list[psutil.Process]:
    """This process's workers."""
    return [process for process in psutil.Process().children(recursive=True) if process.name() in ("monty", "worker", "python")]


async def until(condition: Callable[[], Any]) -> Any:
    async with asyncio.timeout(30):
        while not (found := condition()):  # noqa: ASYNC110 - another process has no event
            await asyncio.sleep(0.01)
    return found


def gone(processes: list[psutil.Process]) -> bool:
    """Whether all of them have ended."""
    return not {process.pid for process in processes} & {process.pid for process in workers() if process.status() != psutil.STATUS_ZOMBIE}


def computing() -> list[psutil.Process]:
    """Workers that have been at work for a while: starting costs less."""
    return [process for process in workers() if process.name() == "monty" and sum(process.cpu_times()[:2]) > 0.15]
