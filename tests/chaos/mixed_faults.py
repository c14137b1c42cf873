"""Faults of all kinds in one trial, in random order: what one of them leaves behind is what the next one meets."""

from dataclasses import replace

from tests.chaos.faults import Fault, Load, Nemesis, Scene, register
from tests.chaos.load_faults import kill_under_large
from tests.chaos.node_faults import kill_everything, kill_head, kill_raylets
from tests.chaos.process_faults import block_hosts, freeze_owners, kill_owners, kill_workers, poison, tell_to_leave
from tests.chaos.serve_faults import kill_controller, kill_proxy, kill_replicas

KINDS: tuple[tuple[Nemesis, int], ...] = (
    *((kill_owners, 2), (kill_workers, 2), (freeze_owners, 1), (poison, 1), (block_hosts, 1), (tell_to_leave, 2)),
    *((kill_replicas, 2), (kill_proxy, 2), (kill_controller, 1), (kill_raylets, 1), (kill_head, 1), (kill_everything, 1), (kill_under_large, 2)),
)
"""Each with how many injections follow each other."""


async def mix(scene: Scene) -> None:
    """All kinds in random order, again and again."""
    scene.notes |= {"wanted_in_flight": 15, "items": 1_000}
    while scene.done < scene.count:
        kinds = list(KINDS)
        scene.rng.shuffle(kinds)
        for nemesis, times in kinds:
            if scene.done < scene.count:
                await nemesis(replace(scene, count=min(scene.count, scene.done + times), alone=False))


async def nothing(scene: Scene) -> None:
    """The load alone: what the checks find here is no fault's doing, but a leak or the harness's own."""
    while scene.done < scene.count:
        await scene.busy()
        scene.record("nothing")
        await scene.pause(1.6, 2.4)


register(Fault("calm", "nothing: what a trial finds without any fault", nothing, quick=10, bar=200, seconds=75))
register(
    Fault(
        "mix",
        "faults of all kinds, one after the other",
        mix,
        quick=19,
        bar=1900,
        load=Load("rarely crashing", rate=3, in_flight=25, runs_per_injection=6),
        settings={"api_replicas": 2},
        seconds=300,
        shard=19,
        least_share=0.4,
    )
)
