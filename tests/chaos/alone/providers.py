"""Providers that misbehave, against one server (F18, F19): the same programs as on the whole platform, and the memory they cost."""

import asyncio
import random
from pathlib import Path

from tests.chaos.alone.stage import Stage, stage
from tests.chaos.alone.trials import Verdict, trial
from tests.chaos.observer import Observer
from tests.chaos.programs import Program, inputs
from tests.chaos.provider_faults import F18, F18_FINAL, F19, F19_FINAL, TIMES, program

AT_ONCE = 4
LIMIT = 16 * 2**20
"""What one answer may have; so much for each run under way, and once more for the rest, may the server's memory grow."""


@trial("F18", "the provider refuses, is late, or breaks off", bar=200, databases=("sqlite",))
async def refusing(folder: Path, database: str, count: int) -> Verdict:
    """`count` runs, each with one step per kind."""
    return await _ask_all(folder, database, count, "F18", program("refusing", F18, F18_FINAL))


@trial("F19", "the provider answers nonsense, too much, or without end", bar=100, databases=("sqlite",))
async def lying(folder: Path, database: str, count: int) -> Verdict:
    """`count` runs, each with one step per kind; the server's memory stays within its bound."""
    return await _ask_all(folder, database, count, "F19", program("lying", F19, F19_FINAL))


async def _ask_all(folder: Path, database: str, count: int, name: str, asked: Program) -> Verdict:
    witness = Observer(folder)
    await witness.start()
    environment = {"OPENAI_BASE_URL": f"{witness.url}/v1", "OPENAI_API_KEY": "witness", "AGENTIC_LEASE_MS": "3000"}
    try:
        async with stage(folder, database, environment=environment) as at:
            await at.client.call("PUT", f"/v1/workflows/{asked.name}", json=asked.definition(witness.url), wanted=(200, 201))
            await _one(at, asked, witness, -1)  # imports and pools are then in place
            before, gate = _memory(at), asyncio.Semaphore(AT_ONCE)

            async def one(number: int) -> None:
                async with gate:
                    await _one(at, asked, witness, number)

            await asyncio.gather(*(one(number) for number in range(count)))
            grown = _memory(at) - before
            if grown > LIMIT * (AT_ONCE + 1):
                at.told.violations.append(f"the server's memory grew by {grown / 2**20:.0f} MiB")
            await at.check()
            at.notes = {"grown_mib": round(grown / 2**20), "statuses": dict(at.told.statuses)}
            return Verdict(name, database, count, count, at.told.violations, at.notes)
    finally:
        await witness.stop()


async def _one(at: Stage, asked: Program, witness: Observer, number: int) -> None:
    """A run, compared with what was computed beforehand."""
    given = inputs(random.Random(number), f"{asked.name}-{number}")
    expected = asked.expect(given, witness.url)
    answer = await at.client.call("POST", f"/v1/workflows/{asked.name}/runs", json={"inputs": given})
    run_id = answer.json()["run_id"]
    run = await at.client.ended(run_id)
    if run["output"] != expected.output:
        at.told.violations.append(f"run {run_id} {run['status']} with {run['output']} instead of {expected.output}: {run['error']}")
    events = await at.client.events(run_id)
    for step, result in expected.steps.items():
        failed = [event["body"]["error"]["code"] for event in events if event["event"] == "step.failed" and event["step"] == step]
        retries = sum(event["event"] == "step.retrying" and event["step"] == step for event in events)
        if failed != ([result.error] if result.error else []) or (retries < TIMES if result.error is None else retries):
            at.told.violations.append(f"run {run_id}: step {step} was tried again {retries} times and failed with {failed} instead of {result.error}")


def _memory(at: Stage) -> int:
    """The most the server ever had, in bytes."""
    for line in Path(f"/proc/{at.servers[0].pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise LookupError("the kernel does not say how much memory a process had")
