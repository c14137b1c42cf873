"""Faults of our own processes: killed, frozen, blocked, poisoned, told to leave."""

import asyncio
import os
import signal
import time

from tests.chaos.evidence import Evidence
from tests.chaos.failpoints import OWNER_POINTS, STEP_POINTS
from tests.chaos.faults import Fault, Load, Scene, register
from tests.chaos.handle import Proc, Role, send
from tests.chaos.nodes import Python
from tests.chaos.ports import WaitedInVainError, until
from tests.chaos.programs import Program, inputs
from tests.chaos.timing import percentiles, take_overs

KILL_EVERY = (1.6, 2.4)
"""Seconds between two kills: about what a dead actor needs to come back on two cores."""
POISON = "poison"


# --- F1: owners


async def kill_owners(scene: Scene) -> None:
    """`kill -9` of a WorkflowActor at random; one in four at a named point; one in twenty by `ray.kill`."""
    while scene.done < scene.count:
        await scene.busy()
        chance = scene.rng.random()
        if chance < 0.25:
            await kill_at_point(scene, scene.rng.choice(OWNER_POINTS))
        elif chance < 0.30:
            await ray_kill(scene)
        else:
            await scene.kill_owner()
        await scene.pause(*KILL_EVERY)


async def kill_at_point(scene: Scene, point: str, *, patience: float = 10.0, action: str = "kill", seconds: float = 2.0) -> bool:
    """Arm the point and wait until a process has been hurt there; False when none came by."""
    living = await scene.living_owners()
    before = len(scene.platform.fail_points.taken())
    ticket = scene.platform.fail_points.arm(point, action, seconds=seconds)
    if not await taken(scene, before, patience):
        ticket.unlink(missing_ok=True)
        return False
    entry = scene.platform.fail_points.taken()[before]
    _, owner = living.get(entry["pid"], (None, None))
    scene.record(f"{action} at {point}", pid=entry["pid"], owner=owner, at=entry["at"], alone=len(living) < 2)
    return True


async def taken(scene: Scene, before: int, patience: float) -> bool:
    """Wait until one more ticket than `before` was taken."""

    async def more() -> bool:
        return len(scene.platform.fail_points.taken()) > before

    try:
        await until(more, patience, 0.02)
    except WaitedInVainError:
        return False
    return True


async def ray_kill(scene: Scene) -> None:
    """`ray.kill` of an actor of the pool, as a careless operator would."""
    number = scene.rng.randrange(scene.platform.settings.workflow_actors_min)
    await scene.platform.in_driver(f"ray.kill(ray.get_actor('workflow-{number}', namespace='agentic'), no_restart=False)\n")
    scene.record("ray.kill", actor=f"workflow-{number}")


# --- F2: those who carry steps out


async def kill_workers(scene: Scene) -> None:
    """`kill -9` of an AgentActor or of the process of an isolated step; steps of this load also end their processes themselves."""
    while scene.done < scene.count:
        await scene.busy()
        chance = scene.rng.random()
        if chance < 0.2:
            await kill_at_point(scene, scene.rng.choice(STEP_POINTS))
        else:
            role = Role.ISOLATED if chance < 0.5 else Role.AGENT
            await kill_one(scene, role)
        await scene.pause(1.0, 2.0)


async def kill_one(scene: Scene, *roles: Role, number: signal.Signals = signal.SIGKILL) -> Proc | None:
    """Send the signal to a random process of these roles; None when there is none."""
    found = await scene.platform.procs(*roles)
    if not found:
        return None
    proc = scene.rng.choice(found)
    now = time.time()
    if not send(proc, number):
        return None
    scene.record(f"{number.name} to {proc.role}", pid=proc.pid, at=now)
    return proc


# --- F4: frozen owners


async def freeze_owners(scene: Scene) -> None:
    """SIGSTOP of an owner for longer than its lease, then SIGCONT: for a moment two believe that they own its runs."""
    lease = scene.platform.settings.lease_ms / 1000
    while scene.done < scene.count:
        await scene.busy()
        if scene.rng.random() < 0.2:
            await kill_at_point(scene, scene.rng.choice(OWNER_POINTS), action="pause", seconds=lease * 1.5)
            await scene.pause(0.5, 1.0)
            continue
        living = await scene.living_owners()
        if not living:
            continue
        proc, owner = living[scene.rng.choice(sorted(living))]
        now = time.time()
        if send(proc, signal.SIGSTOP):
            scene.record("SIGSTOP", pid=proc.pid, owner=owner, at=now, alone=len(living) < 2)
            await asyncio.sleep(lease * scene.rng.uniform(1.2, 2.2))
            send(proc, signal.SIGCONT)
        await scene.pause(0.5, 1.5)


# --- F24: a run that kills its host


async def poison(scene: Scene) -> None:
    """One run kills its owner at each of its turns; it has to be given up as poison, and its neighbours must not be."""
    program = Program(POISON, {"one": Python("one")})
    answer = await scene.driver.client.ask("PUT", f"/v1/workflows/{POISON}", body=program.definition(scene.site.witness.url))
    assert answer.status in (200, 201), answer.body
    while scene.done < scene.count:
        number = scene.done
        await scene.busy()
        ticket = scene.platform.fail_points.arm("turn.before", "kill", key=POISON, keep=True)
        given = inputs(scene.rng, f"poison-{number}-{scene.rng.randrange(2**32):08x}")
        body = {"inputs": given}
        started = await scene.driver.client.ask("POST", f"/v1/workflows/{POISON}/runs", body=body, headers={"Idempotency-Key": given["token"]})
        run_id = started.body["run_id"]
        scene.record("poison run", run_id=run_id)
        run = await _ended(scene, run_id, 90)
        ticket.unlink(missing_ok=True)
        if run["status"] != "failed" or (run["error"] or {}).get("code") != "poison":
            scene.violations.append(f"F24 run {run_id}: it is {run['status']} ({run['error']}) instead of failed as poison")
            if run["status"] in ("queued", "running"):
                await _ended(scene, run_id, 60)


async def _ended(scene: Scene, run_id: str, seconds: float) -> dict:
    deadline = time.monotonic() + seconds
    while True:
        run = (await scene.driver.client.ask("GET", f"/v1/runs/{run_id}")).body
        if run["status"] in ("succeeded", "failed", "canceled") or time.monotonic() > deadline:
            return run
        await asyncio.sleep(0.5)


# --- F25: a blocked event loop


async def block_hosts(scene: Scene) -> None:
    """The event loop of an owner stands still in the middle of a turn, and so does its heartbeat; the API goes on answering."""
    lease = scene.platform.settings.lease_ms / 1000
    slowest = 0.0
    while scene.done < scene.count:
        await scene.busy()
        if await kill_at_point(scene, "turn.before", action="pause", seconds=lease * scene.rng.uniform(1.5, 3)):
            began = time.monotonic()
            await scene.driver.client.ask("GET", "/livez")
            slowest = max(slowest, time.monotonic() - began)
        await scene.pause(1, 2)
    scene.notes["slowest_livez_seconds"] = round(slowest, 3)


# --- F31: told to leave


async def tell_to_leave(scene: Scene) -> None:
    """SIGTERM to an owner under load, as a platform that takes a node away does."""
    while scene.done < scene.count:
        await scene.busy()
        living = await scene.living_owners()
        if living:
            proc, owner = living[scene.rng.choice(sorted(living))]
            now = time.time()
            if send(proc, signal.SIGTERM):
                scene.record("SIGTERM", pid=proc.pid, owner=owner, at=now, alone=len(living) < 2)
        await scene.pause(*KILL_EVERY)


def within(limit: float, what: str) -> "object":
    """A check that take-overs (95 of 100) took at most so many seconds."""

    def check(evidence: Evidence) -> list[str]:
        times = percentiles(take_overs(evidence.journals.values(), evidence.injections))
        return [f"{what}: the take-over took {times['p95']} s (p95) instead of {limit:g} s; {times}"] if times and times["p95"] > limit else []

    return check


PACE = float(os.environ.get("CHAOS_PACE", "1"))
"""Factor on the times that are promised, for machines that do other things as well."""

register(Fault("F1", "a WorkflowActor is killed", kill_owners, quick=24, bar=1000, seconds=90, checks=(within(5 * PACE, "F1"),)))
register(Fault("F2", "an AgentActor or an isolated step is killed", kill_workers, quick=20, bar=1000, load=Load("crashing", rate=4), seconds=90))
register(Fault("F4", "an owner is frozen for longer than its lease", freeze_owners, quick=12, bar=300, seconds=100, shard=30))
register(
    Fault("F24", "a run kills its owner whenever it is taken up", poison, quick=4, bar=100, load=Load(rate=3, runs_per_injection=15), seconds=90, shard=10)
)
register(Fault("F25", "the event loop of an owner is blocked", block_hosts, quick=8, bar=50, seconds=90, shard=25))
register(Fault("F31", "an owner is told to leave", tell_to_leave, quick=16, bar=500, seconds=90, checks=(within(1 * PACE, "F31"),)))
