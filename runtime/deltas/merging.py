"""Two things a reader waits for at once: events of the journal, and deltas."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TypeVar

from runtime.deltas.buffer import Buffer
from runtime.deltas.delta import Delta

Fact = TypeVar("Fact")
Heard = tuple[int, list[Delta]]
"""How many characters were lost, and the deltas after them."""


async def merged(batches: AsyncGenerator[list[Fact], None], buffer: Buffer) -> AsyncGenerator[list[Fact] | Heard, None]:
    """Each batch and whatever is in the buffer, as they come, until the batches end. Of two that are there, the deltas are first: they are older.

    Raises what `batches` raises.
    """
    async with aclosing(batches):
        reading, hearing = asyncio.create_task(_next(batches)), asyncio.create_task(buffer.take())
        try:
            while True:
                await asyncio.wait((reading, hearing), return_when=asyncio.FIRST_COMPLETED)
                if hearing.done():
                    yield hearing.result()
                    hearing = asyncio.create_task(buffer.take())
                if reading.done():
                    if (batch := reading.result()) is None:
                        return
                    yield batch
                    reading = asyncio.create_task(_next(batches))
        finally:
            reading.cancel()
            hearing.cancel()
            await asyncio.gather(reading, hearing, return_exceptions=True)


async def _next(batches: AsyncGenerator[list[Fact], None]) -> list[Fact] | None:
    return await anext(batches, None)
