"""What every actor's process sets up for itself: settings from the environment, and the end when its node is gone. For logs: runtime/logs.py."""

import asyncio
import faulthandler
import gc
import os
import sys
import tempfile
import time
from functools import cache
from hashlib import sha256
from pathlib import Path

import structlog

from runtime.settings import Settings

WATCH_SECONDS = 1.0


@cache
def settings() -> Settings:
    """This process's settings, from the environment and the file it names: secrets never travel through Ray."""
    return Settings()


def marks_path(name: str, wanted: Settings) -> Path:
    """Where the processes of one name on this node leave their marks, one after the other (runtime/host/marks.py)."""
    platform = sha256(f"{wanted.database}\0{wanted.home.absolute()}".encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"agentic-marks-{os.getuid()}" / f"{platform}-{name}"


def settle_memory() -> None:
    """Look for garbage less often: what these processes make in masses is freed by reference counts, and the imports stay for ever."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def end(reason: str) -> None:
    """End this process at once: it must not write any more. Ray starts it anew, as another owner."""
    structlog.get_logger(__name__).error("process_ends", reason=reason)
    sys.stderr.flush()
    os._exit(1)


async def end_with_raylet() -> None:
    """An actor whose raylet died lives on unseen (for minutes, as measured): end when the parent process is another one."""
    parent = os.getppid()
    while True:
        await asyncio.sleep(WATCH_SECONDS)
        if os.getppid() != parent:
            end("raylet gone")


def leave(reason: str) -> None:
    """End this process in good order: everything was handed over."""
    structlog.get_logger(__name__).info("process_leaves", reason=reason)
    sys.stderr.flush()
    os._exit(0)


def watch_the_loop(seconds: float) -> None:
    """End this process when its event loop does not come by for so long; call again before. Works also while something holds the GIL.

    Where every thread was then stands on standard error, and in the marks which run was being turned.
    """
    faulthandler.dump_traceback_later(seconds, exit=True)


class Busy:
    """The share of one core this process used since it was last asked."""

    def __init__(self) -> None:
        self._cpu, self._wall = time.process_time(), time.monotonic()

    def __call__(self) -> float:
        cpu, wall = time.process_time(), time.monotonic()
        share = (cpu - self._cpu) / max(wall - self._wall, 0.001)
        self._cpu, self._wall = cpu, wall
        return share
