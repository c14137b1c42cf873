"""Waiting on what no event tells of."""

import asyncio
from collections.abc import Callable


async def until(condition: Callable[[], object], *, within: float = 20) -> None:
    """Return as soon as the condition holds. Raises TimeoutError after `within` seconds."""
    async with asyncio.timeout(within):
        while not condition():  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0.01)
