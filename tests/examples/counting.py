"""Counts how many of its calls are under way at once."""

import asyncio
from collections import Counter

current: Counter[str] = Counter()
most: Counter[str] = Counter()
ALL = ""


async def work(customer: str) -> str:
    """Give the customer back, after some others have had time to come too."""
    for name in (ALL, customer):
        current[name] += 1
        most[name] = max(most[name], current[name])
    await asyncio.sleep(0.01)
    for name in (ALL, customer):
        current[name] -= 1
    return customer
