"""Shops that stand in for real ones: some answer, some stumble, one has closed."""

import hashlib
from typing import Any

from runtime.errors import StepFailed

FLAKY_ATTEMPTS = 2
"""So often a flaky shop stumbles before it answers."""


async def ask(shop: str, sku: str, context: Any) -> dict[str, Any]:
    """`{price}` in euros. Raises ConnectionError from a flaky shop, and StepFailed `shop_closed` from one that is closed for good."""
    if "Closed" in shop:
        raise StepFailed("shop_closed", f"{shop} has closed for good", retryable=False)
    if "Flaky" in shop and context.attempt <= FLAKY_ATTEMPTS:
        raise ConnectionError(f"{shop} hung up")
    number = int.from_bytes(hashlib.sha256(f"{shop}/{sku}".encode()).digest()[:4])
    return {"price": 300 + number % 10_000 / 100}


def best(checks: list[dict[str, Any] | None]) -> dict[str, Any]:
    """`{best, checked, failed}`; a check that failed is null."""
    found = [check for check in checks if check is not None]
    return {"best": min(found, key=lambda check: check["price"], default=None), "checked": len(found), "failed": len(checks) - len(found)}
