"""Faults of model providers (F18, F19): one run asks for every kind of them, and must come to what an honest provider would have said."""

import itertools
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tests.chaos.evidence import Evidence
from tests.chaos.faults import Fault, Load, Scene, register
from tests.chaos.nodes import FAILED, RETRY, Agent, Effect, Result, Run
from tests.chaos.programs import Program, inputs

TIMES = 2
"""So often each kind happens to one prompt before it is answered."""
F18 = {
    "busy": "429",
    "busy_later": "429 retry_after=1",
    "broken": "500",
    "away": "503",
    "away_later": "503 retry_after=1",
    "overloaded": "529",
    "late": "slow seconds=20",
    "unanswered": "unanswered",
    "cut": "cut",
}
F18_FINAL = {"request": ("400", "model_request_refused"), "key": ("401", "provider_unauthorized"), "right": ("403", "provider_unauthorized")}
F18_FINAL |= {"model": ("404", "model_not_found")}
F19 = {name: name for name in ("malformed", "choiceless", "misshapen", "html", "endless")}
F19_FINAL = {"huge": ("huge", "response_too_large")}


@dataclass
class Refused(Agent):
    """A request that no repetition would help; the run goes on without it."""

    code: str = ""

    def come_to(self, run: Run) -> Result:
        run.effects[self.tag(run)] = Effect(self.name, kind="model")
        return Result(FAILED, error=self.code)


def program(name: str, passing: dict[str, str], final: dict[str, tuple[str, str]]) -> Program:
    """One agent step per kind, all at once. A step that is answered late or never has five seconds for each attempt."""
    steps: dict[str, Any] = {}
    for step, kind in passing.items():
        steps[step] = Agent(step, options={"timeout": "5s", "retry": RETRY}, script=f"[[script: {kind} x{TIMES}]]")
    for step, (kind, code) in final.items():
        steps[step] = Refused(step, options={"on_error": "continue"}, whole=False, script=f"[[script: {kind} x9]]", code=code)
    return Program(name, steps)


async def _ask_all(scene: Scene, asked: Program) -> None:
    """Each injection is one run of it."""
    url = scene.site.witness.url
    answer = await scene.driver.client.ask("PUT", f"/v1/workflows/{asked.name}", body=asked.definition(url))
    assert answer.status in (200, 201), answer.body
    while scene.done < scene.count:
        started = await scene.driver.start(asked, inputs(scene.rng, f"{asked.name}-{scene.done}-{scene.rng.randrange(2**32):08x}"))
        scene.record(asked.name, run_id=started.run_id)
        await scene.pause(0.1, 0.5)


async def ask_refusing(scene: Scene) -> None:
    await _ask_all(scene, program("refusing", F18, F18_FINAL))


async def ask_lying(scene: Scene) -> None:
    await _ask_all(scene, program("lying", F19, F19_FINAL))


def attempts_are_told(evidence: Evidence) -> list[str]:
    """Each fault is an attempt in the journal, with a wait after it as long as the provider asked; what is final was asked once. A request
    that is one too many goes out again without being an attempt, and waits as long.
    """
    found = []
    arrivals = evidence.arrivals()
    for run_id, started in evidence.started.items():
        if started.program.name not in ("refusing", "lying") or started.cancel is not None:
            continue
        journal = evidence.journals[run_id]
        for step, node in started.program.nodes.items():
            retries = [event for event in journal if event["event"] == "step.retrying" and event["step"] == step]
            if isinstance(node, Refused):
                if retries or len(arrivals.get(f"{started.inputs['token']}/{step}", ())) != 1:
                    found.append(f"F18 run {run_id}: step {step} was tried again although it could not help")
                continue
            if "429" in node.script:
                found += _repeated(run_id, step, [entry["at"] for entry in arrivals.get(f"{started.inputs['token']}/{step}", ())])
                continue
            if len(retries) < TIMES:
                found.append(f"F18 run {run_id}: step {step} failed {TIMES} times, its journal says {len(retries)}")
            asked = 1000 if step.endswith("_later") else 0
            found += [f"F18 run {run_id}: step {step} was tried again too early" for event in retries if _wait(event) < asked and not _late(event)]
    return found


def _repeated(run_id: str, step: str, times: list[float]) -> list[str]:
    """What is wrong with when a request came in (seconds) that was refused as one too many."""
    found = [f"F18 run {run_id}: step {step} was refused {TIMES} times, and came {len(times)} times"] if len(times) <= TIMES else []
    least = 0.95 if step.endswith("_later") else 0
    gaps = [later - sooner for sooner, later in itertools.pairwise(times[: TIMES + 1])]
    return found + [f"F18 run {run_id}: step {step} came again after {gap:.2f} s" for gap in gaps if gap < least]


def _wait(event: dict[str, Any]) -> int:
    """Milliseconds from a failed attempt to the next one."""
    due: int = event["body"]["due"]
    return due - round(datetime.fromisoformat(event["at"]).timestamp() * 1000)


def _late(event: dict[str, Any]) -> bool:
    """Whether the attempt was given up before the provider said when to come again."""
    return bool(event["body"]["error"]["code"] == "timeout")


_LOAD = Load(profile="agents", runs_per_injection=1.0)
register(Fault("F18", "the provider refuses, is late, or breaks off", ask_refusing, 10, 200, load=_LOAD, checks=(attempts_are_told,), shard=100))
register(Fault("F19", "the provider answers nonsense, too much, or without end", ask_lying, 10, 100, load=_LOAD, checks=(attempts_are_told,), shard=50))
