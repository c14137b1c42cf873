"""How long it took until somebody else had the runs of an owner that was hurt: from the journals and the moments of the injections."""

import statistics
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from tests.chaos.client import ENDS
from tests.chaos.faults import Injection

RELEASED = {"run.waiting", *ENDS}


def seconds_of(at: str) -> float:
    """An RFC 3339 time as seconds since the epoch."""
    return datetime.fromisoformat(at).timestamp()


def take_overs(journals: Iterable[list[dict[str, Any]]], injections: list[Injection]) -> list[float]:
    """Seconds from each injection into an owner to the next claim of each run it owned then, with a higher epoch.

    Only where another owner lived beside it (`alone` is not set): how long the very last one takes to be started again is Ray's affair.
    """
    by_owner = {injection.owner: injection for injection in injections if injection.owner and not injection.detail.get("alone")}
    found = []
    for events in journals:
        owner, since = None, 0.0
        for event in events:
            at = seconds_of(event["at"])
            if event["event"] == "run.claimed":
                injection = by_owner.get(owner or "")
                if injection is not None and since <= injection.at <= at:
                    found.append(at - injection.at)
                owner, since = (event["body"] or {}).get("owner"), at
            elif event["event"] in RELEASED:
                owner = None
    return found


def percentiles(times: list[float]) -> dict[str, float]:
    """p50, p95, max and count; empty when nothing was measured."""
    if not times:
        return {}
    ordered = sorted(times)
    return {
        "count": len(ordered),
        "p50": round(statistics.median(ordered), 3),
        "p95": round(ordered[min(len(ordered) - 1, int(len(ordered) * 0.95))], 3),
        "max": round(ordered[-1], 3),
    }
