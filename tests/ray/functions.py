"""Step functions of the Ray tests. What they did is seen in files: one line per execution."""

import asyncio
import os
import time
from pathlib import Path


def _note(file: str, text: object) -> None:
    with Path(file).open("a") as lines:
        lines.write(f"{text}\n")


async def note(file: str, text: str = "done") -> str:
    """Leave a line and return."""
    _note(file, text)
    return text


async def until(file: str, flag: str) -> int:
    """Leave a line, then wait in flight until `flag` exists. Returns the process that did it."""
    _note(file, os.getpid())
    while not Path(flag).exists():  # noqa: ASYNC110, ASYNC240 - the test is another process, a file is what both can see
        await asyncio.sleep(0.02)
    return os.getpid()


def process(value: int = 0) -> dict[str, int]:
    """Which process carries this out."""
    return {"pid": os.getpid(), "value": value}


def fatal(file: str) -> None:
    """Leave a line and bring the process down."""
    _note(file, os.getpid())
    os._exit(1)


def blocked(file: str) -> None:
    """Block the process: neither a cancellation nor a timeout reaches Python code here."""
    _note(file, os.getpid())
    time.sleep(600)


async def double(value: int) -> int:
    """Twice the value."""
    return value * 2


async def counted(file: str, value: int) -> int:
    """Leave a line, and take a moment."""
    _note(file, value)
    await asyncio.sleep(0.05)
    return value
