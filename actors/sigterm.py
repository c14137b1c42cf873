"""SIGTERM: a node that goes asks its processes to leave. Ray's own handler would end them at once."""

import asyncio
import signal
import threading
from typing import Any, Self

from ray.actor import ActorClass


class Sigterm:
    """Hears the signal. To be made on the main thread, where alone Python takes signal handlers."""

    def __init__(self) -> None:
        self._came = threading.Event()
        self._waiter: tuple[asyncio.AbstractEventLoop, asyncio.Event] | None = None
        signal.signal(signal.SIGTERM, self._hear)

    async def wait(self) -> None:
        """Return when the signal has come."""
        event = asyncio.Event()
        self._waiter = (asyncio.get_running_loop(), event)
        if not self._came.is_set():
            await event.wait()

    def _hear(self, _number: int, _frame: object) -> None:
        self._came.set()
        if self._waiter is not None:
            loop, event = self._waiter
            loop.call_soon_threadsafe(event.set)


class HearsSigterm:
    """An actor with `self.sigterm`. Of an async actor Ray runs only `__new__` on the main thread, so the handler is set there."""

    sigterm: Sigterm

    def __new__(cls, *_arguments: Any, **_named: Any) -> Self:
        actor = super().__new__(cls)
        if not issubclass(cls, ActorClass):  # decorating a class makes an object too, in processes that are no actors
            actor.sigterm = Sigterm()
        return actor
