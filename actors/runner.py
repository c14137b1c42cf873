"""RayRunner: how API replicas, the batch driver and the hosts themselves reach the WorkflowActors. Hints only, sent in batches."""

import asyncio
from collections import OrderedDict
from collections.abc import Coroutine, Sequence
from typing import Any

import structlog
from ray.exceptions import RayError

from actors.directory import Directory
from actors.names import SUPERVISOR, forget, handle
from runtime.clock import Clock, SystemClock
from runtime.errors import Overloaded, StoreUnavailable
from runtime.gather import Gather
from runtime.ids import created_ms
from runtime.store.protocol import Journal

log = structlog.get_logger(__name__)

FRESH_MS = 2000
"""A run this young that was never placed from here has no owner yet: it is placed without asking the database."""
MAX_PLACES = 50_000
PLACE_SECONDS = 5.0
"""How long a remembered owner is believed; then the database is asked again."""
METRICS_SECONDS = 5.0

Watch = tuple[str, int, float, asyncio.Future[None]]


class RayRunner:
    """Implements `runtime.gateway.Runner` and `runtime.host.neighbours.Neighbours`. `update` must be told of the pool, by a Pulse."""

    def __init__(self, journal: Journal, clock: Clock | None = None) -> None:
        self._journal = journal
        self._clock = clock or SystemClock()
        self._loads: dict[str, int] = {}
        self._places: OrderedDict[str, tuple[str, float]] = OrderedDict()
        self._nudges: dict[str, None] = {}
        self._offers: dict[str, None] = {}
        self._watches: dict[str, list[Watch]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._sending = Gather(self._flush)
        self._offering = Gather(self._flush_offers)
        self._watching = Gather(self._flush_watches)

    def update(self, directory: Directory) -> None:
        """These WorkflowActors are there, with so many runs each."""
        self._loads = dict(directory.workflows)

    def nudge(self, run_ids: Sequence[str]) -> None:
        self._nudges.update(dict.fromkeys(run_ids))
        if run_ids:
            self._sending.soon()

    def offer(self, run_ids: Sequence[str]) -> None:
        """These runs are nobody's any more. Every WorkflowActor is told: one that has just ended is still in the list, and whoever is first takes them."""
        self._offers.update(dict.fromkeys(run_ids))
        if run_ids:
            self._offering.soon()

    async def watch(self, run_id: str, after: int, timeout: float) -> None:
        name = self._known(run_id) or (self._place(run_id) if run_id in self._nudges else None) or await self._owner(run_id)
        if name is None:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._watches.setdefault(name, []).append((run_id, after, timeout, future))
        self._watching.soon()
        # A second more than the other side waits: normally it answers, this is for when it cannot.
        await asyncio.wait([future], timeout=timeout + 1)

    async def metrics(self) -> bytes:
        """All metrics of the cluster. Raises Overloaded while the Supervisor does not answer."""
        try:
            text: bytes = await asyncio.wait_for(handle(SUPERVISOR).metrics.remote(), METRICS_SECONDS)
        except (RayError, ValueError, TimeoutError):
            forget(SUPERVISOR)
            raise Overloaded("the metrics hub does not answer", retry_after=1) from None
        return text

    async def provider_limits(self, tenant: str) -> list[dict[str, Any]]:
        """Raises Overloaded while the Supervisor does not answer."""
        try:
            shown: list[dict[str, Any]] = await asyncio.wait_for(handle(SUPERVISOR).provider_limits.remote(tenant), METRICS_SECONDS)
        except (RayError, ValueError, TimeoutError):
            forget(SUPERVISOR)
            raise Overloaded("the limiter does not answer", retry_after=1) from None
        return shown

    def _flush(self) -> int:
        """Everything nudged since the last tick: one call per actor."""
        wanted, self._nudges = self._nudges, {}
        now, strangers, by_actor = self._clock.now(), [], dict[str, list[str]]()
        for run_id in wanted:
            name = self._known(run_id)
            if name is None and now - created_ms(run_id) < FRESH_MS:
                name = self._place(run_id)
            if name is None:
                strangers.append(run_id)
            else:
                by_actor.setdefault(name, []).append(run_id)
        for name, run_ids in by_actor.items():
            self._send(name, run_ids)
        if strangers:
            self._spawn(self._find_and_send(strangers))
        return len(wanted)

    def _flush_offers(self) -> int:
        offers, self._offers = list(self._offers), {}
        for name in list(self._loads):
            self._send(name, offers)
        return len(offers)

    def _place(self, run_id: str) -> str | None:
        """The actor with the fewest runs; None while none is known."""
        if not self._loads:
            return None
        name = min(self._loads, key=self._loads.__getitem__)
        self._loads[name] += 1
        self._remember(run_id, name)
        return name

    def _known(self, run_id: str) -> str | None:
        """Where the run was a moment ago."""
        name, until = self._places.get(run_id, ("", 0.0))
        return name if until > self._clock.monotonic() else None

    def _remember(self, run_id: str, name: str) -> None:
        self._places[run_id] = (name, self._clock.monotonic() + PLACE_SECONDS)
        self._places.move_to_end(run_id)
        if len(self._places) > MAX_PLACES:
            self._places.popitem(last=False)

    def _send(self, name: str, run_ids: list[str]) -> None:
        try:
            handle(name).nudge.remote(run_ids)
        except (RayError, ValueError):
            self._lost(name)

    async def _find_and_send(self, run_ids: Sequence[str]) -> None:
        for run_id in run_ids:
            name = await self._owner(run_id) or self._place(run_id)
            if name is not None:
                self._send(name, [run_id])

    async def _owner(self, run_id: str) -> str | None:
        """The name of the actor that owns the run now."""
        row = await self._journal.run(run_id)
        if row is None or row.owner is None:
            return None
        name = next((owner.name for owner in await self._journal.owners() if owner.owner == row.owner), None)
        if name is not None:
            self._remember(run_id, name)
        return name

    def _flush_watches(self) -> int:
        wanted, self._watches = self._watches, {}
        for name, waiting in wanted.items():
            self._spawn(self._watch_all(name, waiting))
        return sum(map(len, wanted.values()))

    async def _watch_all(self, name: str, waiting: list[Watch]) -> None:
        wanted = [(run_id, after, timeout) for run_id, after, timeout, _ in waiting]
        try:
            if len(wanted) == 1:
                await handle(name).watch.remote(*wanted[0])
            else:
                async for reference in handle(name).watch_many.options(num_returns="streaming").remote(wanted):
                    for position in await reference:
                        _resolve(waiting[position][3])
        except (RayError, ValueError):
            self._lost(name)
        finally:
            for _, _, _, future in waiting:
                _resolve(future)

    def _lost(self, name: str) -> None:
        forget(name)
        self._loads.pop(name, None)
        for run_id in [run_id for run_id, (place, _) in self._places.items() if place == name]:
            del self._places[run_id]

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(self._quietly(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    @staticmethod
    async def _quietly(work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except StoreUnavailable as failure:
            log.warning("hint_lost", error=str(failure))  # the owner looks for itself every second


def _resolve(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)
