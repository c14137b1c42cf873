"""What the workflows of these trials do."""

import asyncio


async def rest(seconds: float, value: object = None) -> object:
    """Sleep, and return what was given."""
    await asyncio.sleep(seconds)
    return value


async def double(n: int) -> int:
    """Twice n."""
    return 2 * n
