"""Deltas as clients see them: like events of the journal, but without a seq, an epoch and a time."""

from typing import Any

from runtime.deltas.delta import Delta
from runtime.deltas.merging import Heard

DELTA = "step.delta"
DROPPED = "step.delta_dropped"
LOST = "step.delta_lost"


def heard(news: Heard) -> list[dict[str, Any]]:
    """The word of how much was lost, if anything was, and the deltas after it."""
    lost, deltas = news
    before = [{"event": LOST, "step": None, "attempt": None, "body": {"characters": lost}}] if lost else []
    return before + [_view(delta) for delta in deltas if not delta.ended]


def _view(delta: Delta) -> dict[str, Any]:
    says = delta.dropped is None
    body = {
        "index": delta.index,
        "call": delta.call,
        "offset": delta.offset if says else None,
        "text": delta.text if says else None,
        "format": "json" if delta.json else "text",
        "because": delta.dropped,
    }
    return {"event": DELTA if says else DROPPED, "step": delta.step, "attempt": delta.attempt, "body": body}
