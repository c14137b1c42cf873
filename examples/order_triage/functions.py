"""Checking orders, and the line for the log of the day."""

from typing import Any

USUAL_COUNTRIES = frozenset(("AT", "CH", "DE", "FR", "IT", "LI"))


def check(order: dict[str, Any]) -> dict[str, Any]:
    """`{total, oddities}`: the sum of the lines, rounded to cents, and sentences about what a person should look at."""
    lines = order["lines"]
    oddities = [f"{line['quantity']} pieces of {line['sku']} are more than anybody has ordered yet" for line in lines if line["quantity"] > 100]
    oddities += [f"{line['sku']} has no price" for line in lines if line["price"] == 0]
    if order["country"] not in USUAL_COUNTRIES:
        oddities.append(f"we have not delivered to {order['country']} before")
    skus = [line["sku"] for line in lines]
    oddities += [f"{sku} is on the order twice" for sku in dict.fromkeys(skus) if skus.count(sku) > 1]
    return {"total": round(sum(line["quantity"] * line["price"] for line in lines), 2), "oddities": oddities}


async def report(order: str, status: str, road: str | None, reserved: str, context: Any) -> str:
    """The line, which is also kept as an artifact."""
    line = f"{order}: {status}, stock {reserved}, road {road or 'backlog'}"
    await context.save_artifact("report.txt", line + "\n", "text/plain")
    return line
