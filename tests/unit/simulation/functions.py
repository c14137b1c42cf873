"""Functions of the workflows played here."""

import asyncio
from typing import Any


async def flaky(until: int, context: Any) -> int:
    """The attempt it succeeds at."""
    if context.attempt < until:
        raise ValueError("not yet")
    return context.attempt


async def slow(seconds: float) -> str:
    """Takes real time."""
    await asyncio.sleep(seconds)
    return "done"


async def double(number: int) -> int:
    """Twice the number."""
    return 2 * number
