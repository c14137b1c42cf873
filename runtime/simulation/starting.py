"""Runs that begin the same every time."""

import hashlib
from typing import Any

from runtime.gateway import StartRequest
from runtime.ids import derived_uuid7


def run_id_of(start: int, workflow: str, seed: int) -> str:
    """The id of a run of this workflow with this seed, begun at `start` (ms): all ids that derive from it are the same, too."""
    return derived_uuid7(start, workflow, seed)


def request_of(workflow: str, inputs: dict[str, Any], *, mode: str, seed: int, run_id: str) -> StartRequest:
    """A start without any chance in it."""
    digest = hashlib.sha256(run_id.encode()).hexdigest()
    return StartRequest(workflow, inputs, mode=mode, seed=seed, run_id=run_id, traceparent=f"00-{digest[:32]}-{digest[32:48]}-01")
