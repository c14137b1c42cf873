"""What processes tell the Supervisor every second, and what it tells them: plain data, one call for both."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace

import structlog
from ray.exceptions import RayError

from actors.names import SUPERVISOR, forget, handle
from runtime.limits.messages import Where
from runtime.metrics import Batch, Metrics

log = structlog.get_logger(__name__)

PULSE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Report:
    """`load`: runs owned or steps in flight. `busy`: share of one core used since the last report."""

    name: str
    kind: str
    load: int = 0
    busy: float = 0.0
    leaving: bool = False
    """Takes no more work and will end soon."""
    batch: Batch | None = None
    """What it has counted since its last batch was added."""


@dataclass(frozen=True, slots=True)
class Directory:
    """Who is there: name → load, without those that are being drained."""

    workflows: dict[str, int] = field(default_factory=dict)
    agents: dict[str, int] = field(default_factory=dict)
    keys: str = ""
    """The version of all provider keys: another one means that some key has changed."""
    limited: tuple[Where, ...] = ()
    """Provider keys and models that have a limit no setting says: model calls to them ask for leave."""
    budgets: str = ""
    """The version of the budgets people have set."""
    counted: int = 0
    """The number up to which the batches of whoever asked are added to the totals, for good."""


class Pulse:
    """Reports every second, hands the answer on. A Supervisor that is away is waited for; the last answer stays in use."""

    def __init__(self, report: Callable[[], Report], receive: Callable[[Directory], None], metrics: Metrics | None = None) -> None:
        """`metrics`: what the process counts, if it counts anything."""
        self._report = report
        self._receive = receive
        self._metrics = metrics or Metrics()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin; needs the running loop."""
        self._task = asyncio.get_running_loop().create_task(self._beat())

    async def stop(self) -> None:
        """End, with a last report, so that no metric is lost; with two when the one before was not answered."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
            await self.once()
            if self._metrics.waiting:
                await self.once()

    async def once(self) -> None:
        """One report and its answer."""
        report = replace(self._report(), batch=self._metrics.batch())
        try:
            directory: Directory = await handle(SUPERVISOR).report.remote(report)
        except (RayError, ValueError) as failure:
            log.warning("supervisor_unreachable", error=type(failure).__name__)
            forget(SUPERVISOR)
            return
        self._metrics.settle(directory.counted)
        self._receive(directory)

    async def _beat(self) -> None:
        while True:
            await self.once()
            await asyncio.sleep(PULSE_SECONDS)
