"""One trial: a platform of its own, a load, faults beside it, and then the judgement."""

import asyncio
import os
import random
import shutil
import tempfile
import time
import traceback
from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from runtime.connections import KEPT_SECONDS
from runtime.settings import Settings
from runtime.store.fsck import fsck
from runtime.store.open import open_store
from tests.chaos import results, webhooks
from tests.chaos.checks import judge
from tests.chaos.client import Client
from tests.chaos.driver import Driver
from tests.chaos.evidence import Evidence, gather_evidence, journal_text
from tests.chaos.failpoints import FailPoints
from tests.chaos.faults import Fault, Scene, Site
from tests.chaos.handle import PlatformHandle, Role
from tests.chaos.observer import Observer
from tests.chaos.ports import WaitedInVainError, free_port, until
from tests.chaos.postgres import Postgres
from tests.chaos.programs import write_programs
from tests.chaos.timing import percentiles, take_overs

WARM_UP = 40
"""Runs before the first measurement: imports, pools and caches are then in place."""
STUCK_SECONDS = 90.0
"""After the last fault, a run that does not move for so long counts as stuck."""
LARGE = 400
"""Runs from which only a tenth of the streams is followed, and a fifth of the runs is read in full besides its journal."""
ORPHAN_SECONDS = 30.0


@dataclass
class Plan:
    """What to try. `home`: where trials put their folders (a temporary one when absent); `keep`: leave the folder of a good trial, too."""

    fault: Fault
    database: str
    seed: int
    count: int
    runs: int | None = None
    fence: str | None = None
    home: Path | None = None
    keep: bool = False


@dataclass
class Outcome:
    """What is written into the results."""

    plan: Plan
    done: int = 0
    runs: int = 0
    seconds: float = 0.0
    take_over: dict[str, float] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)
    notes: dict[str, Any] = field(default_factory=dict)
    folder: str = ""

    def line(self) -> dict[str, Any]:
        """As one JSON object."""
        plan = self.plan
        return results.line(
            fault=plan.fault.name,
            database=plan.database,
            seed=plan.seed,
            asked=plan.count,
            done=self.done,
            runs=self.runs,
            seconds=self.seconds,
            fence=plan.fence,
            take_over=self.take_over,
            notes=self.notes,
            violations=self.violations,
        )


async def carry_out(plan: Plan) -> Outcome:
    """Carry one trial out. Whatever breaks in the harness itself is a violation, too: a trial that could not be judged proves nothing."""
    outcome, began = Outcome(plan), time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix=f"chaos-{plan.fault.name}-", dir=plan.home))
    outcome.folder = str(folder)
    try:
        await _carry_out(plan, folder, outcome)
    except Exception as failure:  # noqa: BLE001 - reported as the outcome of this trial
        outcome.violations.append(f"harness: {type(failure).__name__}: {failure}")
        (folder / "harness.txt").write_text(traceback.format_exc())
    outcome.seconds = time.monotonic() - began
    if not outcome.violations and not plan.keep:
        shutil.rmtree(folder, ignore_errors=True)
    return outcome


async def _carry_out(plan: Plan, folder: Path, outcome: Outcome) -> None:
    async with AsyncExitStack() as stack:
        rng = random.Random(plan.seed)
        witness = Observer(folder)
        await witness.start()
        stack.push_async_callback(witness.stop)
        site = Site(folder, plan.database, rng, witness, await _postgres(plan.database, stack))
        site.settings = await _settings(plan, site)
        if plan.fault.around is not None:
            await stack.enter_async_context(plan.fault.around(site))
        fail_points = FailPoints(folder / "failpoints")
        stack.enter_context(fail_points.without(plan.fence) if plan.fence else nullcontext())
        platform = PlatformHandle(Settings(**site.settings), fail_points)
        await stack.enter_async_context(_running(platform))
        evidence, scene = await _hurt(plan, site, platform)
        platform_id = platform.platform_id
        await platform.stop()
        evidence.left_over += [f"{proc.role} {proc.pid} lives on after the stop: {proc.title[:80]}" for proc in await platform.left_over(platform_id)]
        evidence.fsck = await _fsck(platform.settings)
        outcome.violations += scene.violations + judge(evidence, plan.fault.checks)
        _fill(outcome, evidence, scene)


def _fill(outcome: Outcome, evidence: Evidence, scene: Scene) -> None:
    outcome.done, outcome.runs = scene.done, len(evidence.started)
    outcome.take_over = percentiles(take_overs(evidence.journals.values(), evidence.injections))
    tries = sum(evidence.counts.values())
    arrivals = [entry for entry in evidence.ledger if entry["kind"] in ("effect", "model")]
    outcome.notes = {
        **scene.notes,
        "requests": tries,
        "outcomes": dict(evidence.counts),
        "events": sum(map(len, evidence.journals.values())),
        "effects": len(arrivals),
        "injected": dict(Counter(injection.what for injection in scene.injections)),
        "memory": {str(role): [[round(x) for x in evidence.before.get(role, ())], [round(x) for x in after]] for role, after in evidence.after.items()},
        "started_seconds": [round(each, 1) for each in scene.platform.started_seconds],
        **({"failed_starts": scene.platform.failed_starts} if scene.platform.failed_starts else {}),
        "fail_points": len(scene.platform.fail_points.taken()),
    }


async def _postgres(database: str, stack: AsyncExitStack) -> Postgres | None:
    if database != "postgresql":
        return None
    server = Postgres()
    stack.push_async_callback(server.remove)
    await server.create()
    return server


async def _settings(plan: Plan, site: Site) -> dict[str, Any]:
    home = site.folder / "home"
    (home / "db").mkdir(parents=True)
    url = await site.postgres.database("chaos") if site.postgres is not None else f"sqlite:///{home / 'db' / 'workflows.db'}"
    return {
        "home": home,
        "database_url": url,
        "api_port": free_port(),
        "run_mode": "live",
        "python_modules": ["tests.chaos"],
        "openai_base_url": f"{site.witness.url}/v1",
        "openai_api_key": "witness",
        "outbound_allow": ["127.0.0.1"],
        "lease_ms": 3000,
        "drain_ms": 3000,
        "workflow_actors_min": 3,
        "workflow_actors_max": 3,
        "agent_actors_min": 1,
        "agent_actors_max": 2,
        **plan.fault.settings,
    }


@asynccontextmanager
async def _running(platform: PlatformHandle) -> Any:
    """Started; at the end nothing of it lives, whatever happened."""
    try:
        await platform.start()
        yield platform
    finally:
        await platform.end()


async def _hurt(plan: Plan, site: Site, platform: PlatformHandle) -> tuple[Evidence, Scene]:
    """Load and faults, until all runs have ended; what there is to judge."""
    fault, load = plan.fault, plan.fault.load
    client = Client(platform.api, platform.key)
    await client.open()
    runs = max(load.least_runs, round(plan.count * load.runs_per_injection)) if plan.runs is None else plan.runs
    site.things["runs"] = runs
    following = min(load.follow, 0.1) if runs > LARGE else load.follow
    programs = write_programs(site.rng, load.programs, load.profile)
    driver = Driver(client, site.folder, site.witness.url, site.rng, programs, cancels=load.cancels, cancel_within=load.cancel_within, following=following)
    try:
        endpoints = await webhooks.subscribe(client, site.witness) if load.webhooks else []
        await driver.open()
        await driver.load(WARM_UP, rate=load.rate * 2, most=load.in_flight)
        await driver.idle(STUCK_SECONDS)
        before = await _at_rest(platform)
        scene = Scene(site, platform, driver, site.rng, plan.count)
        nemesis = asyncio.create_task(fault.nemesis(scene))
        await driver.load(runs - WARM_UP, rate=load.rate, most=load.in_flight, more=lambda: not nemesis.done())
        await nemesis
        platform.fail_points.disarm()
        stuck = [] if await driver.idle(STUCK_SECONDS) else [f"run {run_id} stands still:\n{await journal_text(client, run_id)}" for run_id in driver.open_runs]
        await _streams_end(driver)
        await webhooks.arrived(site.witness, driver, endpoints)
        left = await _surplus(platform)
        after = await _at_rest(platform)
        evidence = await gather_evidence(client, driver, site.witness, full=0.2 if runs > LARGE else 1.0, rng=site.rng)
    finally:
        await driver.close()
        await client.close()
    evidence.stuck, evidence.left_over, evidence.endpoints = stuck, left, endpoints
    evidence.before, evidence.after = before, after
    evidence.injections, evidence.least_share = scene.injections + scene.hurts, fault.least_share
    return evidence, scene


async def _streams_end(driver: Driver) -> None:
    """Clients that follow runs which have ended come to the end, too; those that do not are found by C4."""

    async def ended() -> bool:
        return all(seen.ended for seen in driver.seen.values())

    try:
        await until(ended, STUCK_SECONDS)
    except WaitedInVainError:
        return


async def _at_rest(platform: PlatformHandle) -> dict[str, tuple[int, float, float]]:
    """What the processes hold once the connections of the last requests, which nobody uses any more, have had their time."""
    await asyncio.sleep(2 * KEPT_SECONDS)
    return await asyncio.to_thread(platform.measure)


async def _surplus(platform: PlatformHandle) -> list[str]:
    """Actors beyond those that should be there, once things have settled; they get half a minute to go."""
    most = {Role.WORKFLOW: platform.settings.workflow_actors_max or 64, Role.SUPERVISOR: 1, Role.REPLICA: platform.settings.api_replicas}

    async def surplus() -> list[str]:
        procs = await platform.procs(*most)
        counts = {role: sum(proc.role is role for proc in procs) for role in most}
        return [f"{count} processes of {role}, {most[role]} are wanted" for role, count in counts.items() if count > most[role]]

    async def gone() -> bool:
        return not await surplus()

    try:
        await until(gone, ORPHAN_SECONDS, 0.5)
    except WaitedInVainError:
        return await surplus()
    return []


async def _fsck(settings: Settings) -> list[str]:
    store = await open_store(settings.database, migrate=False)
    try:
        return list(await fsck(store))
    finally:
        await store.close()


def machine() -> str:
    """For the results: what they were measured on."""
    return f"{os.cpu_count()} cores, {psutil.virtual_memory().total / 2**30:.0f} GiB"
