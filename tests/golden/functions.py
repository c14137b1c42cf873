"""What the `python` steps of the golden runs call. They fail, hang and speak at length by their arguments alone."""

import asyncio
from typing import Any

from runtime.errors import StepFailed


def echo(value: Any = None) -> Any:
    """Give back what was given."""
    return value


def flaky(item: int, context: Any) -> int:
    """Odd numbers fail at the first attempt, multiples of seven for ever."""
    if item and item % 7 == 0:
        raise StepFailed("never", "multiples of seven always fail", retryable=False)
    if item % 2 and context.attempt == 1:
        raise ValueError(f"{item} fails once")
    return item * item


def fails_until(attempt: int, context: Any) -> str:
    """Fail before this attempt."""
    if context.attempt < attempt:
        raise ValueError("not yet")
    return f"attempt {context.attempt}"


def refuses(code: str) -> None:
    """Fail for good."""
    raise StepFailed(code, "this was asked for", retryable=False)


def lengthy(letter: str) -> str:
    """A text that is too long for a journal row."""
    return letter * 70_000


def file_with(text: str, context: Any) -> Any:
    """Save a named artifact."""
    return context.save_artifact("note.txt", text, "text/plain")


async def hang(seconds: float = 3600) -> str:
    """Take so long that something else must end it."""
    await asyncio.sleep(seconds)
    return "done"


def weather(place: str) -> str:
    """The weather of a place, as a tool of an agent."""
    return f"It rains in {place}."
