"""The timeout of an attempt: it can be started anew, and stand still while the attempt waits for leave."""

import asyncio
import time

from runtime.steps.context import Clock


async def expired(clock: Clock, fired: asyncio.Event) -> float:
    began = time.monotonic()
    async with asyncio.timeout(20):
        await fired.wait()
    return time.monotonic() - began


async def test_while_it_stands_still_no_time_passes() -> None:
    fired = asyncio.Event()
    clock = Clock(0.3, fired.set)
    clock.start()
    clock.pause()
    assert clock._handle is None, "nothing is left that could fire"
    clock.resume()
    assert await expired(clock, fired) >= 0.25


async def test_it_goes_on_where_it_stood() -> None:
    fired = asyncio.Event()
    clock = Clock(60.0, fired.set)
    clock.start()
    clock.pause()
    clock.pause()
    clock.resume()
    clock.resume()
    handle = clock._handle
    assert handle is not None
    assert 50 < handle.when() - asyncio.get_running_loop().time() <= 60
    clock.stop()
    assert handle.cancelled()


async def test_what_has_ended_does_not_begin_again() -> None:
    clock = Clock(60.0, lambda: None)
    clock.start()
    clock.pause()
    clock.stop()
    clock.resume()
    assert clock._handle is None
    unlimited = Clock(None, lambda: None)
    unlimited.start()
    unlimited.pause()
    unlimited.resume()
    assert unlimited._handle is None
