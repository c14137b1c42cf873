"""Faults before the gateway: replicas, the proxy, Serve's controller."""

import asyncio
import time

import aiohttp

from tests.chaos.failpoints import REPLICA_POINTS
from tests.chaos.faults import Fault, Load, Scene, register
from tests.chaos.handle import Role
from tests.chaos.ports import WaitedInVainError, until
from tests.chaos.process_faults import PACE, kill_one, taken

BACK_SECONDS = 5.0 * PACE
STARTED_SECONDS = 6.0 * PACE
"""So old is a replica that has begun to answer."""
BUSY_API = Load("short", rate=12, in_flight=120, runs_per_injection=12, cancels=0.1)
CALM_API = Load("short", rate=4, in_flight=25, runs_per_injection=20)
"""While nobody answers everybody asks again and again: a crowd would drown what was answered."""
TWO_REPLICAS = {"api_replicas": 2}


async def kill_replicas(scene: Scene) -> None:
    """`kill -9` of a replica in the middle of requests: between commit and answer by a fail point, else at random; another one goes on answering."""
    while scene.done < scene.count:
        await both_answer(scene)
        if scene.rng.random() < 0.5:
            before = len(scene.platform.fail_points.taken())
            point = scene.rng.choice(REPLICA_POINTS)
            ticket = scene.platform.fail_points.arm(point, "kill")
            if await taken(scene, before, 5):
                entry = scene.platform.fail_points.taken()[before]
                scene.record(f"kill at {point}", pid=entry["pid"], at=entry["at"])
            else:
                ticket.unlink(missing_ok=True)
        else:
            await kill_one(scene, Role.REPLICA)
        await scene.pause(1.5, 3)


async def both_answer(scene: Scene, seconds: float = 60) -> None:
    """Wait until two replicas are there that have had the time to start, at most `seconds`."""

    async def both() -> bool:
        found = await scene.platform.procs(Role.REPLICA)
        return sum(time.time() - proc.created >= STARTED_SECONDS for proc in found) >= 2

    try:
        await until(both, seconds, 0.2)
    except WaitedInVainError:
        scene.violations.append(f"F6 there were no two replicas for {seconds:g} s")


async def kill_proxy(scene: Scene) -> None:
    """`kill -9` of HAProxy; how long until a new connection is answered again."""
    times = []
    while scene.done < scene.count:
        if await kill_one(scene, Role.HAPROXY):
            times.append(await answers_again(scene))
            if times[-1] > BACK_SECONDS and scene.alone:
                scene.violations.append(f"F7 new connections were answered {times[-1]:.1f} s after the proxy was killed, instead of {BACK_SECONDS:g} s")
        await scene.pause(8, 12)
    scene.notes["answers_again_seconds"] = {"median": round(sorted(times)[len(times) // 2], 2), "max": round(max(times), 2)} if times else {}


async def answers_again(scene: Scene, seconds: float = 60) -> float:
    """Seconds until `/livez` is answered on a connection of its own."""
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        try:
            async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as session, session.get(f"{scene.platform.api}/livez") as answer:
                if answer.status == 200:
                    break
        except (aiohttp.ClientError, TimeoutError):
            await asyncio.sleep(0.05)
    return time.monotonic() - began


async def kill_controller(scene: Scene) -> None:
    """`kill -9` of Serve's controller; requests are answered all the while."""
    failed = asked = 0
    while scene.done < scene.count:
        if await kill_one(scene, Role.CONTROLLER):
            until = time.monotonic() + scene.rng.uniform(4, 8)
            while time.monotonic() < until:
                asked += 1
                failed += await answers_again(scene, 2) > 1.0
                await asyncio.sleep(0.2)
        await scene.pause(0.5, 1)
    scene.notes["livez"] = {"asked": asked, "failed": failed}
    if asked and failed / asked > 0.02 and scene.alone:
        scene.violations.append(f"F8 {failed} of {asked} requests were not answered within a second while the controller was away")


register(
    Fault("F6", "an API replica is killed in the middle of requests", kill_replicas, quick=16, bar=1000, load=BUSY_API, settings=TWO_REPLICAS, seconds=140)
)
register(Fault("F7", "the proxy is killed", kill_proxy, quick=10, bar=200, load=CALM_API, settings=TWO_REPLICAS, seconds=150, least_share=0.7))
register(Fault("F8", "Serve's controller is killed", kill_controller, quick=4, bar=50, load=BUSY_API, settings=TWO_REPLICAS, seconds=90, shard=10))
