"""Step functions for the workloads: they do nothing, or wait."""

import asyncio


async def noop(value: object = None) -> object:
    """Return what came in."""
    return value


async def sleep(seconds: float) -> float:
    """Wait in flight, as a model call would."""
    await asyncio.sleep(seconds)
    return seconds
