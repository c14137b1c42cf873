"""A run on a stage, and what came of it."""

from dataclasses import dataclass, field
from functools import partial
from typing import Any

from runtime.engine.events import Event
from runtime.engine.state import RunState
from runtime.settings import Settings
from runtime.simulation.people import TENANT, People
from runtime.simulation.platform import SimulatedPlatform
from runtime.simulation.replay import ReplayStage
from runtime.simulation.script import Script, ScriptStage
from runtime.simulation.starting import request_of, run_id_of
from runtime.steps.stage import Stage
from runtime.store.protocol import RunRow

START = 1_767_258_000_000
FUNCTIONS = "tests.unit.simulation.functions"
SETTINGS = Settings(python_modules=[FUNCTIONS])


@dataclass
class Play:
    """What to run."""

    sources: tuple[str, ...]
    stage: Stage = field(default_factory=lambda: ScriptStage(Script()))
    people: People = field(default_factory=People)
    inputs: dict[str, Any] = field(default_factory=dict)
    mode: str = "simulated"
    seed: int = 0
    start: int = START
    run_id: str | None = None


@dataclass
class Played:
    row: RunRow
    state: RunState
    events: list[Event]

    def at(self, kind: str, step: str | None = None) -> list[int]:
        """When events of this kind happened, in ms after the start."""
        return [event.at - self.events[0].at for event in self.events if event.kind == kind and step in (None, event.step)]


async def play(what: Play) -> Played:
    """Run it to its end."""
    async with SimulatedPlatform(SETTINGS, what.stage, start=what.start) as platform:
        if isinstance(what.stage, ReplayStage):
            what.stage.on(platform.gateway)
        rows = [await platform.gateway.publish(TENANT, source) for source in what.sources]
        name = rows[0].workflow
        request = request_of(name, what.inputs, mode=what.mode, seed=what.seed, run_id=what.run_id or run_id_of(what.start, name, what.seed))
        run = (await platform.gateway.start(TENANT, request)).run
        await platform.until_end(run.run_id, partial(what.people.act, platform.gateway, platform.clock))
        events = await platform.gateway.events(TENANT, run.run_id, limit=1000)
        return Played(await platform.gateway.run(TENANT, run.run_id), await platform.gateway.state(TENANT, run.run_id), events)
