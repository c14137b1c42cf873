"""A session on a stage: a simulated run or a replay in this process, in virtual time."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from actors.cli.inputs import read_text
from actors.cli.local import LocalSession
from runtime.clock import SystemClock
from runtime.errors import NotFound
from runtime.settings import Settings
from runtime.simulation.cassette import Cassette, read_cassette
from runtime.simulation.family import Family
from runtime.simulation.people import TENANT, People
from runtime.simulation.platform import SimulatedPlatform, Stuck
from runtime.simulation.replay import ReplayStage, people_of
from runtime.simulation.script import Script, ScriptStage
from runtime.simulation.starting import request_of, run_id_of

if TYPE_CHECKING:
    from actors.cli.run import Staging

LOOK_SECONDS = 0.002


class SimulatedSession(LocalSession):
    """Time passes from the start of the run on, but never before whoever follows it has seen what there is to see."""

    def __init__(self, platform: SimulatedPlatform, family: Family, staging: "Staging", replay: tuple[Cassette, ReplayStage] | None) -> None:
        super().__init__(platform.gateway, platform.local.deltas)
        self._platform, self._family, self._staging, self._replay = platform, family, staging, replay
        self._people = People() if replay is None else people_of(replay[0])
        self._run_id = ""
        self._seen = 0
        self._time: asyncio.Task[None] | None = None

    async def publish(self, source: str) -> tuple[str, str]:
        rows = await self._family.publish([source, *(read_text(path) for path in self._staging.others)])
        return rows[0].workflow, rows[0].definition

    async def definition(self, workflow: str) -> dict[str, Any]:
        row = await self._family.fetch(workflow)
        if row is None:
            raise NotFound(f"there is no workflow {workflow}")
        return row.document

    async def start(self, workflow: str, request: dict[str, Any]) -> str:
        """Start the run: that of a cassette begins as it did, with other inputs only where they are given."""
        if self._replay is None:
            seed, begin = self._staging.seed, self._platform.clock.now()
            wanted = request_of(workflow, request["inputs"], mode="simulated", seed=seed, run_id=run_id_of(begin, workflow, seed))
        else:
            cassette = self._replay[0]
            inputs = {**cassette.inputs, **request["inputs"]}
            wanted = request_of(workflow, inputs, mode=cassette.run.mode, seed=cassette.run.seed, run_id=cassette.run.id)
        wanted = replace(wanted, labels=request.get("labels") or {})
        self._run_id = (await self._platform.gateway.start(TENANT, wanted)).run.run_id
        self._time = asyncio.create_task(self._pass_time(), name="time")
        return self._run_id

    async def events(self, run_id: str, after: int = 0, *, deltas: bool = False) -> AsyncIterator[dict[str, Any]]:
        async for event in super().events(run_id, after, deltas=deltas):
            yield event
            if run_id == self._run_id and "seq" in event:
                self._seen = event["seq"]

    def differences(self) -> Iterable[str]:
        if self._replay is None:
            return ()
        stage = self._replay[1]
        return stage.differences or [*stage.left(), *self._people.left()]

    async def close(self) -> None:
        """Let time stand still."""
        if self._time is not None:
            self._time.cancel()
            await asyncio.gather(self._time, return_exceptions=True)

    async def _pass_time(self) -> None:
        try:
            await self._platform.until_end(self._run_id, self._act)
        except Stuck as stuck:
            reason = f"{stuck}; --yes approves, and a test can give the rest (agentic test)"
            await self._platform.gateway.cancel(TENANT, self._run_id, reason=reason)
            await self._platform.until_end(self._run_id, self._act)

    async def _act(self) -> bool:
        row = await self._platform.gateway.run(TENANT, self._run_id)
        if not row.status.ended and row.head > self._seen:
            await asyncio.sleep(LOOK_SECONDS)
            return True
        return await self._people.act(self._platform.gateway, self._platform.clock)


@asynccontextmanager
async def simulated(settings: Settings, staging: "Staging") -> AsyncIterator[SimulatedSession]:
    """A session on a stage of its own."""
    replay: tuple[Cassette, ReplayStage] | None = None
    stage: ScriptStage | ReplayStage = ScriptStage(Script())
    start = SystemClock().now()
    if staging.replay is not None:
        cassette = read_cassette(staging.replay)
        stage = ReplayStage(cassette, recorded_python=staging.recorded_python)
        replay, start = (cassette, stage), cassette.created_at
    async with SimulatedPlatform(settings, stage, start=start) as platform:
        if isinstance(stage, ReplayStage):
            stage.on(platform.gateway)
        session = SimulatedSession(platform, Family(platform.gateway, settings), staging, replay)
        try:
            yield session
        finally:
            await session.close()
