"""Faults of our own processes: killed, frozen, blocked, drained."""

import signal

from tests.chaos.failpoints import OWNER_POINTS
from tests.chaos.faults import Fault, Scene, register
from tests.chaos.handle import Role

KILL_EVERY = (1.6, 2.4)
"""Seconds between two kills: about what a dead actor needs to come back, so that hardly ever both are away."""


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
            owners = await scene.platform.procs(Role.WORKFLOW)
            if owners:
                await scene.kill_owner(scene.rng.choice(owners))
        await scene.pause(*KILL_EVERY)


async def kill_at_point(scene: Scene, point: str, *, patience: float = 10.0) -> bool:
    """Arm the point and wait until a process has died there; False when none came by."""
    owners = await scene.platform.owners()
    before = len(scene.platform.fail_points.taken())
    ticket = scene.platform.fail_points.arm(point, "kill")
    if not await taken(scene, before, patience):
        ticket.unlink(missing_ok=True)
        return False
    entry = scene.platform.fail_points.taken()[before]
    scene.record(f"kill at {point}", pid=entry["pid"], owner=owners.get(entry["pid"]), at=entry["at"])
    return True


async def taken(scene: Scene, before: int, patience: float) -> bool:
    """Wait until one more ticket than `before` was taken."""
    from tests.chaos.ports import WaitedInVainError, until

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


register(
    Fault("F1", "a WorkflowActor is killed", kill_owners, quick=24, bar=1000, seconds=90),
)
_ = signal
