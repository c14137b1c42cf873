"""Faults of whole nodes: raylets, the head, and everything at once."""

import asyncio
import signal
import subprocess
import sys
import time

import psutil

from actors.lifecycle import attached_environment, platform_files
from actors.ports import draw
from tests.chaos.faults import Fault, Load, Scene, register
from tests.chaos.handle import Proc, Role, send
from tests.chaos.ports import until
from tests.chaos.process_faults import kill_one

NODES = 2
"""Raylets besides the head's."""
RTO_SECONDS = 60.0


async def kill_raylets(scene: Scene) -> None:
    """Three raylets on loopback; one that is not the head's is killed with `kill -9`, and another one joins."""
    while len(await scene.platform.procs(Role.RAYLET)) <= NODES:
        await join(scene)
    await spread(scene)
    while scene.done < scene.count:
        await scene.busy()
        raylets = (await scene.platform.procs(Role.RAYLET))[1:]
        if raylets:
            proc = scene.rng.choice(raylets)
            owners = await owners_below(scene, proc)
            now = time.time()
            if send(proc, signal.SIGKILL):
                scene.record("kill -9 of a raylet", pid=proc.pid, at=now, owners=len(owners))
                for pid, owner in owners.items():
                    scene.hurt(owner, pid, now)
        await scene.pause(3, 6)
        await join(scene)
        await spread(scene)


JOIN = """
import sys
from ray._private.node import Node
from ray._private.parameter import RayParams

params = RayParams(
    gcs_address=sys.argv[1], node_ip_address="127.0.0.1", num_cpus=2, min_worker_port=0, max_worker_port=0, node_manager_port=0,
    object_store_memory=80 * 2**20, include_log_monitor=False, dashboard_agent_listen_port=int(sys.argv[2]),
)
Node(params, head=False, shutdown_at_exit=False, spawn_reaper=False, connect_only=False)
"""
"""What `ray start --address` does; the command itself refuses a cluster that listens on the loopback device alone."""


async def join(scene: Scene) -> None:
    """Start one more raylet that joins the cluster. Raises AssertionError with the end of its log."""
    environment = attached_environment(scene.platform.settings)
    command = [sys.executable, "-c", JOIN, environment["RAY_ADDRESS"], str(draw())]
    log = platform_files(scene.platform.settings).folder / "join.log"
    with log.open("ab") as output:
        done = await asyncio.to_thread(
            subprocess.run, command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output, timeout=120, check=False, start_new_session=True
        )
    if done.returncode:
        raise AssertionError(f"a raylet could not join: {log.read_text()[-500:]}")


async def owners_below(scene: Scene, raylet: Proc) -> dict[int, str]:
    """pid → owner of the WorkflowActors this raylet has started."""
    children = {child.pid for child in await asyncio.to_thread(psutil.Process(raylet.pid).children)}
    return {pid: owner for pid, owner in (await scene.platform.owners()).items() if pid in children}


async def spread(scene: Scene, tries: int = 6) -> None:
    """Restart owners of the head's node until some live on other nodes, which is what Ray does when they start in a busy cluster."""
    for _ in range(tries):
        raylets = await scene.platform.procs(Role.RAYLET)
        owners = await scene.living_owners(3, 20)
        head = {child.pid for child in psutil.Process(raylets[0].pid).children()}
        at_head = [proc for pid, (proc, _) in owners.items() if pid in head]
        if len(at_head) < len(owners) or not at_head:
            return
        send(at_head[0], signal.SIGKILL)
        await asyncio.sleep(2)


async def kill_head(scene: Scene) -> None:
    """The head's GCS, or its raylet too, is killed; the platform is started again on the same database, without a hand on any run."""
    times = []
    while scene.done < scene.count:
        await scene.busy(10)
        proc = await kill_one(scene, Role.GCS)
        if proc is None:
            continue
        began = time.monotonic()
        if scene.rng.random() < 0.5:
            await asyncio.sleep(scene.rng.uniform(0, 4))  # for a while the rest lives on without its head
        await restart(scene)
        times.append(time.monotonic() - began)
        if times[-1] > RTO_SECONDS:
            scene.violations.append(f"F5 it took {times[-1]:.0f} s until the platform was ready again, instead of {RTO_SECONDS:g} s")
        await scene.pause(3, 6)
    scene.notes["ready_again_seconds"] = {"median": round(sorted(times)[len(times) // 2], 1), "max": round(max(times), 1)} if times else {}


async def restart(scene: Scene) -> None:
    """End whatever is left, and start again."""
    await scene.platform.kill_everything()
    await scene.platform.start()


async def kill_everything(scene: Scene) -> None:
    """`kill -9` of every process at once with many runs in flight, then the same platform again: all of them end as they should."""
    times, caught = [], []
    while scene.done < scene.count:
        await scene.busy(scene.notes.get("wanted_in_flight", min(500, scene.site.things.get("runs", 600) * 0.8)), 90)
        caught.append(scene.driver.in_flight)
        began, now = time.monotonic(), time.time()
        count = await scene.platform.kill_everything()
        scene.record("kill -9 of everything", at=now, processes=count, in_flight=caught[-1])
        await scene.platform.start()
        times.append(time.monotonic() - began)
        await until(_moving(scene), 60)
    scene.notes.update(in_flight=caught, ready_again_seconds=[round(each, 1) for each in times])


def _moving(scene: Scene):
    """Whether runs end again; how many are in flight says nothing while new ones are started."""

    def ended() -> int:
        return sum(run.ended is not None for run in scene.driver.runs.values())

    before = ended()

    async def more() -> bool:
        return ended() > before

    return more


register(Fault("F3", "a raylet is killed", kill_raylets, quick=4, bar=100, load=Load(rate=3, runs_per_injection=25), seconds=140, shard=10))
register(
    Fault(
        "F5",
        "the head is killed, and the platform is started again",
        kill_head,
        quick=2,
        bar=50,
        load=Load(rate=3, runs_per_injection=40),
        seconds=130,
        shard=10,
        least_share=0.5,
    )
)
register(
    Fault(
        "restart",
        "everything is killed at once with 500 runs in flight",
        kill_everything,
        quick=2,
        bar=40,
        load=Load(rate=150, in_flight=560, runs_per_injection=650, least_runs=650, follow=0.1),
        seconds=170,
        shard=4,
        least_share=0.3,
    )
)
