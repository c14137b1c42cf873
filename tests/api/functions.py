"""Functions that the workflows of these tests call."""

from typing import Any

calls: list[int] = []
"""Every item `double` was ever called with, in this process."""
broken = {"yes": True}


async def double(n: int) -> int:
    """Twice n; 13 fails while `broken` says so."""
    calls.append(n)
    if n == 13 and broken["yes"]:
        raise ValueError("thirteen")
    return 2 * n


async def draw(name: str, context: Any) -> dict[str, Any]:
    """Save a picture of `name`."""
    saved: dict[str, Any] = await context.save_artifact(f"{name}.png", b"\x89PNG\r\n\x1a\n" + name.encode() * 20, "image/png")
    return saved


paid: list[int] = []
"""Every amount `pay` was ever called with, in this process."""


async def pay(amount: int) -> str:
    """Pay an invoice."""
    paid.append(amount)
    return f"paid {amount}"
