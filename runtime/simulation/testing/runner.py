"""Runs tests of workflows: each on a platform of its own, in virtual time, without a network."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from runtime.errors import AgenticError
from runtime.gateway import StartRequest
from runtime.settings import Settings
from runtime.simulation.cassette import read_cassette
from runtime.simulation.counting import Counting
from runtime.simulation.people import TENANT, People
from runtime.simulation.platform import SimulatedPlatform
from runtime.simulation.replay import ReplayStage, people_of
from runtime.simulation.script import Script, ScriptStage
from runtime.simulation.starting import request_of, run_id_of
from runtime.simulation.testing.checks import Ended, Failure, check
from runtime.simulation.testing.document import Case
from runtime.simulation.testing.files import TestFile
from runtime.values import load


@dataclass(slots=True)
class Result:
    """How a test went. `seconds` are real ones, `steps` what became of each step."""

    file: TestFile
    case: Case
    seconds: float = 0.0
    failures: list[Failure] = field(default_factory=list)
    steps: dict[str, str] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        return not self.failures

    def told(self) -> Iterator[str]:
        """The failures as lines, each beginning with `file:line:column`."""
        index = self.file.cases.index(self.case)
        for failure in self.failures:
            line, column = self.file.place(f"/tests/{index}{failure.pointer}")
            yield f"{self.file.path}:{line}:{column}: {self.case.name}: {failure.message}"
            yield from (f"    {part}" for part in failure.diff)


async def run_case(file: TestFile, case: Case, settings: Settings) -> Result:
    """Run one test. What goes wrong is in the result; nothing is raised but StoreUnavailable and its like."""
    result, began = Result(file, case), time.perf_counter()
    try:
        result.failures += await (_replayed if case.mode == "replay" else _simulated)(result, settings)
    except AgenticError as error:
        details = tuple(f"{problem.pointer}: {problem.detail}" for problem in error.problems)
        result.failures.append(Failure("", f"{error.code}: {error}", details))
    result.seconds = time.perf_counter() - began
    return result


async def _simulated(result: Result, settings: Settings) -> list[Failure]:
    case = result.case
    script = Script(*({name: answers.fresh() for name, answers in given.items()} for given in (case.model, case.tools, case.http, case.python)))
    people = People({step: decisions.copy() for step, decisions in case.approvals.items()}, case.sendings())
    name = result.file.loaded.definition.name
    request = request_of(name, case.inputs, mode="simulated", seed=case.seed, run_id=run_id_of(case.start, name, case.seed))
    failures = await _carried_out(result, settings, Counting(ScriptStage(script), name), people, request, case.start)
    return failures or [Failure("", sentence) for sentence in (*script.left(), *people.left())]


async def _replayed(result: Result, settings: Settings) -> list[Failure]:
    case = result.case
    cassette = read_cassette(result.file.path.parent / Path(case.cassette or ""))
    stage = ReplayStage(cassette, recorded_python=case.recorded_python)
    inputs = cassette.inputs | case.inputs
    request = request_of(cassette.workflow, inputs, mode=cassette.run.mode, seed=cassette.run.seed, run_id=cassette.run.id)
    failures = await _carried_out(result, settings, Counting(stage, cassette.workflow), people_of(cassette), request, cassette.created_at)
    different = [Failure("/cassette", sentence) for sentence in stage.differences]
    return different or failures or [Failure("/cassette", sentence) for sentence in stage.left()]


async def _carried_out(result: Result, settings: Settings, stage: Counting, people: People, request: StartRequest, start: int) -> list[Failure]:
    async with SimulatedPlatform(settings, stage, start=start) as platform:
        if isinstance(stage.inner, ReplayStage):
            stage.inner.on(platform.gateway)
        for source in result.file.sources:
            await platform.gateway.publish(TENANT, source)
        run = (await platform.gateway.start(TENANT, request)).run
        await platform.until_end(run.run_id, partial(people.act, platform.gateway, platform.clock))
        state = await platform.gateway.state(TENANT, run.run_id)
        result.steps = {name: step.status.value for name, step in state.steps.items()}
        output: Any = await load(state.output, platform.gateway.artifacts)
        failures = await check(result.case.expect, Ended(state, output, stage, platform.gateway.artifacts))
    return [Failure(f"/expect{failure.pointer}" if failure.pointer else "", failure.message, failure.diff) for failure in failures]
