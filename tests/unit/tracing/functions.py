"""What the workflows of the tests beside call."""

from typing import Any


async def where(value: Any, context: Any) -> str:
    """The place in the trace that this attempt has."""
    return context.traceparent


def fail(value: Any) -> None:
    raise ValueError("a sentence with content")
