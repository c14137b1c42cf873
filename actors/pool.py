"""A pool of warm, named, detached actors of one kind: brought to a size, drained before they go, watched while they live."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import structlog
from ray.exceptions import ActorDiedError, RayError

from actors.capacity import Bounds
from actors.directory import Report
from actors.names import NAMESPACE, forget, handle, pooled

log = structlog.get_logger(__name__)

STALE_SECONDS = 10.0
"""A member that has not reported for this long gets no new work."""
PATIENCE_SECONDS = 60.0
"""How long a pool stays larger than it needs to be."""
RETRY_SECONDS = 0.2
ACTOR_OPTIONS = {"num_cpus": 0, "max_restarts": -1, "max_task_retries": 0, "max_concurrency": 100_000, "lifetime": "detached", "namespace": NAMESPACE}
"""Our actors wait for I/O, so they take no CPU from isolated steps. Ray restarts them; it must never repeat a call by itself."""


def spawn_actor(remote_class: Any, name: str, *arguments: Any, **options: Any) -> Any:
    """The actor of this name, started if there is none."""
    chosen = {**ACTOR_OPTIONS, "name": name, "get_if_exists": True, **options}
    return remote_class.options(**chosen).remote(name, *arguments)


@dataclass(slots=True)
class Member:
    """One actor of the pool; `report` is its last one, `seen` when it came (loop time)."""

    name: str
    report: Report | None = None
    seen: float = 0.0
    draining: bool = False


class Pool:
    """`died(name, owner)` is called as soon as Ray says that the process which answered with `owner` has ended; `drain` empties one before it is killed."""

    def __init__(
        self,
        kind: str,
        remote_class: Any,
        bounds: Bounds,
        *,
        drain: Callable[[Any], Awaitable[None]],
        died: Callable[[str, str], Awaitable[None]],
    ) -> None:
        self.kind = kind
        self.bounds = bounds
        self._class = remote_class
        self._drain = drain
        self._died = died
        self._members: dict[str, Member] = {}
        self._large_since: float | None = None
        self._news = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    def adopt(self, names: list[str]) -> None:
        """Members that are there already: the Supervisor was restarted."""
        for name in names:
            if name.startswith(f"{self.kind}-"):
                self._add(name)

    def report(self, report: Report) -> None:
        """A member has reported."""
        member = self._members.get(report.name)
        if member is not None:
            member.report, member.seen = report, _now()
            self._news.set()
            if report.leaving and not member.draining:
                member.draining = True  # from here on nobody is sent there; `resize` puts another one in its place
                self._spawn(self._remove(member))

    def loads(self) -> dict[str, int]:
        """Name → load of all that take new work."""
        return {member.name: member.report.load for member in self._present() if member.report}

    def reports(self) -> list[Report]:
        """The last report of all that take new work."""
        return [member.report for member in self._present() if member.report]

    def resize(self, needed: int) -> None:
        """Grow at once; shrink, one by one, when the pool was too large for a minute."""
        wanted, present = self.bounds.clamp(needed), [member for member in self._members.values() if not member.draining]
        if wanted >= len(present):
            self._large_since = None
            for _ in range(wanted - len(present)):
                self._add(next(name for number in range(len(self._members) + 1) if (name := pooled(self.kind, number)) not in self._members))
        elif self._large_since is None:
            self._large_since = _now()
        elif _now() - self._large_since >= PATIENCE_SECONDS:
            self._large_since = None
            self._spawn(self._remove(present[-1]))

    async def ready(self) -> None:
        """Return when the least number of members has reported."""
        while len(self.loads()) < self.bounds.least:
            self._news.clear()
            await self._news.wait()

    async def drain(self) -> None:
        """Empty and end all members."""
        await asyncio.gather(*(self._remove(member) for member in list(self._members.values())))

    def others(self, name: str) -> list[str]:
        """All members but one."""
        return [other for other in self._members if other != name]

    def _present(self) -> list[Member]:
        fresh = _now() - STALE_SECONDS
        return [member for member in self._members.values() if not member.draining and member.seen > fresh]

    def _add(self, name: str) -> None:
        member = self._members[name] = Member(name)
        self._spawn(self._keep(member))

    async def _keep(self, member: Member) -> None:
        """Start the actor and stay with it: a pending call fails the moment its process ends. Ray restarts it under the same name."""
        while self._members.get(member.name) is member:
            # Known only once the process has answered: while it restarts, calls fail too, and that is no further death.
            owner, failure = None, None
            try:
                actor = spawn_actor(self._class, member.name)
                owner = await actor.hello.remote()
                await actor.wait_closed.remote()
            except RayError as error:
                failure = error
            if member.draining:
                return  # it ends because it was told to
            member.report, member.seen = None, 0.0
            if isinstance(failure, ActorDiedError):
                forget(member.name)
            if owner is not None:
                log.warning("actor_died", actor=member.name, error=type(failure).__name__)
                await self._died(member.name, owner)
            await asyncio.sleep(RETRY_SECONDS)

    async def _remove(self, member: Member) -> None:
        member.draining = True
        await retire(member.name, self._drain)
        self._members.pop(member.name, None)
        log.info("actor_removed", actor=member.name)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def retire(name: str, drain: Callable[[Any], Awaitable[None]]) -> None:
    """Empty an actor, then end its process for good."""
    import ray

    try:
        actor = handle(name)
        await drain(actor)
    except (RayError, ValueError) as failure:
        log.warning("drain_failed", actor=name, error=type(failure).__name__)
    try:
        ray.kill(handle(name), no_restart=True)
    except ValueError:
        log.info("actor_already_gone", actor=name)
    forget(name)


def _now() -> float:
    return asyncio.get_running_loop().time()
