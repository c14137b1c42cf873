"""Waiting for an event or for time, whichever comes first."""

import asyncio


async def either(event: asyncio.Event, seconds: float) -> bool:
    """Wait for the event, but not longer than this; whether it came."""
    if event.is_set():
        return True
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return False
    return True
