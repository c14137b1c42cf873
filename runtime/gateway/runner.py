"""The seam to whoever turns runs: the local host, or the pool of WorkflowActors."""

from collections.abc import Sequence
from typing import Any, Protocol

UNTIL_END = 2**62
"""As `after` of `watch`: no seq is ever beyond it, so only the run's end (or the timeout) ends the watch."""


class Runner(Protocol):
    """All calls are hints: they carry no data and may be lost, so nothing depends on them but speed."""

    def nudge(self, run_ids: Sequence[str]) -> None:
        """These runs have something to do. Never blocks; the implementation coalesces calls."""
        ...

    async def watch(self, run_id: str, after: int, timeout: float) -> None:
        """Return when the run has probably moved beyond seq `after` or ended, or after `timeout` seconds, or at once when it is unknown there."""
        ...

    async def provider_limits(self, tenant: str) -> list[dict[str, Any]]:
        """What the limiter of the cluster knows of this tenant's provider keys and the operator's (runtime.limits.views)."""
        ...

    async def metrics(self) -> bytes:
        """All metrics of the cluster as Prometheus text."""
        ...
