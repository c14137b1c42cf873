"""Small helps for everything that waits or listens."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from actors.ports import draw


class WaitedInVainError(AssertionError):
    """A condition did not come true in time."""


def free_port() -> int:
    """A port nobody listens on, below the range the system takes for outgoing connections: a restarted server finds it free again."""
    return draw()


async def until(found: Callable[[], Awaitable[Any]], seconds: float, pause: float = 0.05) -> Any:
    """What `found` returns once it is true. Raises WaitedInVainError after `seconds`."""
    deadline = time.monotonic() + seconds
    while not (value := await found()):
        if time.monotonic() > deadline:
            raise WaitedInVainError(f"waited {seconds:g} s in vain")
        await asyncio.sleep(pause)
    return value
