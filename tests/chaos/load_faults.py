"""Very large runs, with kills in the middle."""

import asyncio
import random
import time

from tests.chaos.driver import Started
from tests.chaos.faults import Fault, Load, Scene, register
from tests.chaos.nodes import Loop, Map
from tests.chaos.programs import Program

ITEMS, ITERATIONS, KILLS = 10_000, 1_000, 10


class LongLoop(Loop):
    """A loop that never ends before its time."""

    def body(self, witness: str) -> dict:
        body = super().body(witness)
        return {**body, "loop": {"until": f"iteration >= {self.most - 1}", "max_iterations": self.most + 5}}

    def come_to(self, run):
        from tests.chaos.nodes import Result

        return Result(output={"value": run.inputs["n"] + self.most - 1})


def large() -> Program:
    """A map over ten thousand items with an effect each, beside a loop of a thousand rounds."""
    return Program("large", {"each": Map("each"), "rounds": LongLoop("rounds", of="set", most=ITERATIONS)})


async def kill_under_large(scene: Scene) -> None:
    """Large runs one after the other, each with up to ten kills of its owners."""
    program = large()
    url = scene.site.witness.url
    answer = await scene.driver.client.ask("PUT", f"/v1/workflows/{program.name}", body=program.definition(url))
    assert answer.status in (200, 201), answer.body
    took: list[float] = []
    while scene.done < scene.count:
        number = len(took)
        rng = random.Random(scene.rng.random())
        items = [rng.randrange(1000) for _ in range(scene.notes.get("items", ITEMS))]
        given = {"token": f"large-{number}-{rng.randrange(2**32):08x}", "n": rng.randrange(1000), "items": items}
        began = time.monotonic()
        started = await scene.driver.start(program, given)
        kills = 0
        while kills < KILLS and scene.done < scene.count and started.run_id in scene.driver.open_runs:
            await asyncio.sleep(scene.rng.uniform(1.5, 3))
            kills += await scene.kill_owner()
        await _ended(scene, started)
        took.append(round(time.monotonic() - began, 1))
        scene.notes["large_runs_seconds"] = took


async def _ended(scene: Scene, started: Started) -> None:
    deadline = time.monotonic() + 300
    while started.run_id in scene.driver.open_runs:
        if time.monotonic() > deadline:
            scene.violations.append(f"F27 run {started.run_id}: it did not end within 300 s")
            return
        await asyncio.sleep(0.5)


register(
    Fault(
        "F27",
        "runs of ten thousand items and a thousand rounds, with kills",
        kill_under_large,
        quick=10,
        bar=200,
        load=Load(rate=2, follow=0.5),
        seconds=150,
        shard=20,
    )
)
