"""Tools of the support desk: an agent may call them, and nothing else."""

import re

MANUAL = {
    "pressure": "A pump that loses pressure usually draws air: tighten the suction coupling, then vent the pump by its top screw. Replace seals after 3 years.",
    "noise": "A humming pump without flow is blocked: switch it off, turn the shaft by hand with a screwdriver, and rinse the filter.",
    "frost": "Below 0 degrees drain the pump and the pipe. Frost damage is not covered by the warranty.",
    "warranty": "The warranty is 5 years on the housing and 2 years on seals. Keep the invoice.",
}
ORDERS = {
    "EL-20418": "Order EL-20418 left the warehouse on Tuesday and is with the carrier; delivery takes 3 working days.",
    "EL-20977": "Order EL-20977 waits for the valve VALVE-15, which is due next week.",
}


async def search_manual(query: str) -> list[str]:
    """Look up the manual of our pumps. Give a few words, such as "pump loses pressure"; the answer is the sections that fit."""
    words = set(re.findall(r"[a-z]{4,}", query.lower()))
    return [section for key, section in MANUAL.items() if key in words or len(words & set(re.findall(r"[a-z]{4,}", section.lower()))) >= 3]


async def order_status(order_id: str) -> str:
    """Where an order is. Order ids look like EL-20418."""
    return ORDERS.get(order_id, f"there is no order {order_id[:40]}")


async def refund(order_id: str, amount: float) -> str:
    """Pay money back for an order."""
    return f"refunded {amount:.2f} for {order_id[:40]}"
