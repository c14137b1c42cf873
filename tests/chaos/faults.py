"""What a fault is, and where the kinds of faults are kept. Modules of faults import this one and register theirs."""

import asyncio
import json
import random
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict, dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.chaos.handle import Role, send

if TYPE_CHECKING:
    from tests.chaos.checks import Check
    from tests.chaos.driver import Driver
    from tests.chaos.handle import PlatformHandle, Proc
    from tests.chaos.observer import Observer
    from tests.chaos.postgres import Postgres

MODULES = ("tests.chaos.process_faults", "tests.chaos.serve_faults", "tests.chaos.node_faults", "tests.chaos.load_faults", "tests.chaos.mixed_faults")
"""Each registers its faults when it is imported. `FURTHER` holds those of other authors, imported only where they exist."""
FURTHER = ("tests.chaos.database_faults", "tests.chaos.provider_faults", "tests.chaos.store_faults")


@dataclass(frozen=True)
class Load:
    """What runs while faults are injected."""

    profile: str = "mixed"
    """Of `programs.PROFILES`: which kinds of steps the programs have."""
    runs_per_injection: float = 10.0
    least_runs: int = 60
    rate: float = 6.0
    """Runs started per second, at most."""
    in_flight: int = 60
    programs: int = 24
    """Different workflows."""
    cancels: float = 0.03
    """Share of runs that are canceled at a random moment."""
    cancel_within: float = 1.5
    """Seconds after the start in which a cancel comes."""
    follow: float = 1.0
    """Share of runs whose events are streamed to a client; large trials lower it to 0.1."""
    webhooks: bool = True


@dataclass
class Injection:
    """One fault that was injected. `owner` is whom a killed WorkflowActor was in the journal."""

    what: str
    at: float
    """Seconds since the epoch."""
    pid: int | None = None
    owner: str | None = None
    detail: dict[str, Any] = field(default_factory=dict)


@dataclass
class Site:
    """What is there before the platform is: `around` may change `settings` and put something in between."""

    folder: Path
    database: str
    rng: random.Random
    witness: "Observer"
    postgres: "Postgres | None"
    settings: dict[str, Any] = field(default_factory=dict)
    """Arguments of `Settings`; `database_url` may be replaced by the address of a proxy."""
    things: dict[str, Any] = field(default_factory=dict)
    """For `nemesis`: proxies and the like."""


@dataclass
class Scene:
    """What a nemesis is given."""

    site: Site
    platform: "PlatformHandle"
    driver: "Driver"
    rng: random.Random
    count: int
    """Injections wanted."""
    injections: list[Injection] = field(default_factory=list)
    notes: dict[str, Any] = field(default_factory=dict)
    """Figures for the result, such as seconds until something answered again."""
    hurts: list[Injection] = field(default_factory=list)
    """Owners that went down with something larger: for the times of take-over, not for the count."""
    violations: list[str] = field(default_factory=list)
    """Found while injecting, by faults that promise more than the checks look at."""
    alone: bool = True
    """Whether this is the only kind of fault. How fast something is back is a promise for that: behind a restart of everything it is noted, not judged."""

    @property
    def done(self) -> int:
        return len(self.injections)

    def record(self, what: str, *, pid: int | None = None, owner: str | None = None, at: float | None = None, **detail: Any) -> Injection:
        """Note one injection, at this moment unless `at` says otherwise."""
        injection = Injection(what, time.time() if at is None else at, pid, owner, detail)
        self.injections.append(injection)
        with (self.site.folder / "injections.jsonl").open("a") as file:  # at once: whoever waits for a trial wants to see where it stands
            file.write(json.dumps(asdict(injection)) + "\n")
        return injection

    def hurt(self, owner: str, pid: int, at: float) -> None:
        """This owner went down with something larger that is recorded already."""
        self.hurts.append(Injection("owner", at, pid, owner))

    async def pause(self, least: float, most: float) -> None:
        """A random time between two injections."""
        await asyncio.sleep(self.rng.uniform(least, most))

    async def busy(self, runs: int = 5, seconds: float = 60) -> None:
        """Wait until so many runs are in flight, so that something is hit; at most `seconds`."""
        deadline = time.monotonic() + seconds
        while self.driver.in_flight < runs and time.monotonic() < deadline:
            await asyncio.sleep(0.05)

    async def living_owners(self, least: int = 2, seconds: float = 30) -> "dict[int, tuple[Proc, str]]":
        """pid → process and owner id of the WorkflowActors that own runs now; waits until there are `least`, at most `seconds`."""
        deadline = time.monotonic() + seconds
        while True:
            owners = await self.platform.owners()
            procs = await self.platform.procs(Role.WORKFLOW)
            hurt = {injection.owner for injection in (*self.injections, *self.hurts)}  # one that is about to leave owns nothing more
            found = {proc.pid: (proc, owners[proc.pid]) for proc in procs if proc.pid in owners and owners[proc.pid] not in hurt}
            if len(found) >= least or time.monotonic() > deadline:
                return found
            await asyncio.sleep(0.1)

    async def kill_owner(self, how: str = "kill -9") -> bool:
        """`kill -9` of a WorkflowActor beside which another one lives, noted with who it was. False when there was none."""
        living = await self.living_owners()
        if not living:
            return False
        proc, owner = living[self.rng.choice(sorted(living))]
        now = time.time()
        if not send(proc, signal.SIGKILL):
            return False
        self.record(how, pid=proc.pid, owner=owner, at=now, alone=len(living) < 2)
        return True


Nemesis = Callable[[Scene], Awaitable[None]]
Around = Callable[[Site], AbstractAsyncContextManager[None]]


@dataclass(frozen=True)
class Fault:
    """One line of the list of faults."""

    name: str
    title: str
    nemesis: Nemesis
    quick: int
    """Injections in `make chaos`, all databases together."""
    bar: int
    """Injections before a release."""
    databases: tuple[str, ...] = ("sqlite", "postgresql")
    load: Load = Load()
    settings: dict[str, Any] = field(default_factory=dict)
    around: Around | None = None
    checks: "tuple[Check, ...]" = ()
    shard: int = 50
    """Injections of one trial: a trial starts a platform of its own."""
    seconds: float = 60.0
    """What a quick trial takes, for choosing what fits into a time."""
    least_share: float = 0.8
    """Of the requests that have to succeed (C8)."""


FAULTS: dict[str, Fault] = {}


def register(fault: Fault) -> Fault:
    """Add it to the list. Raises ValueError when its name is taken."""
    if fault.name in FAULTS:
        raise ValueError(f"there are two faults named {fault.name}")
    FAULTS[fault.name] = fault
    return fault


def load_faults() -> dict[str, Fault]:
    """All faults there are, by name."""
    for name in MODULES:
        import_module(name)
    here = Path(__file__).parent
    for name in FURTHER:
        if (here / f"{name.rpartition('.')[2]}.py").exists():
            import_module(name)
    return FAULTS
