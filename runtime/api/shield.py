"""Writes that have begun are finished, whatever becomes of the client's connection."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import structlog

from runtime.errors import AgenticError

T = TypeVar("T")
log = structlog.get_logger("runtime.api")
_running: set[asyncio.Task[Any]] = set()
"""Keeps the tasks alive: the event loop itself holds them only weakly."""


async def finish(write: Coroutine[Any, Any, T]) -> T:
    """Await `write`; when the caller is canceled (the client went away), `write` goes on to its end."""
    task = asyncio.create_task(write)
    _running.add(task)
    task.add_done_callback(_done)
    return await asyncio.shield(task)


def _done(task: asyncio.Task[Any]) -> None:
    _running.discard(task)
    if not task.cancelled() and (error := task.exception()) is not None and not isinstance(error, AgenticError):
        log.error("write failed", exc_info=error)
