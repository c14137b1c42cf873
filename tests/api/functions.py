"""Functions that the workflows of these tests call."""

calls: list[int] = []
"""Every item `double` was ever called with, in this process."""
broken = {"yes": True}


async def double(n: int) -> int:
    """Twice n; 13 fails while `broken` says so."""
    calls.append(n)
    if n == 13 and broken["yes"]:
        raise ValueError("thirteen")
    return 2 * n
