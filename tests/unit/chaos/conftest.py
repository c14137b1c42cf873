"""Thirty random programs carried out once by the real host in one process; what they left behind is what the tests of the harness look at."""

import asyncio
import copy
import json
import random
from collections import Counter
from pathlib import Path

import pytest

from runtime.gateway import StartRequest, views
from runtime.local import LocalPlatform
from runtime.settings import Settings
from tests.chaos.client import Seen
from tests.chaos.driver import Started
from tests.chaos.evidence import Evidence
from tests.chaos.observer import Observer
from tests.chaos.programs import inputs, write_programs
from tests.chaos.values import form_value

PROGRAMS = 30


async def _carry_out(folder: Path, seed: int) -> Evidence:
    rng = random.Random(seed)
    witness = Observer(folder)
    await witness.start()
    (folder / "db").mkdir()
    settings = Settings(
        home=folder,
        python_modules=["tests.chaos"],
        openai_base_url=f"{witness.url}/v1",
        openai_api_key="witness",
        outbound_allow=["127.0.0.1"],
        run_mode="live",
    )
    evidence = Evidence(counts=Counter({"200": 100}))
    try:
        async with LocalPlatform(settings) as platform:
            gateway = platform.gateway
            for number, program in enumerate(write_programs(rng, PROGRAMS, "mixed")):
                for each in program.all():
                    await gateway.publish("default", json.dumps(each.definition(witness.url)))
                given = inputs(rng, f"t{number}")
                expected = program.expect(given, witness.url)
                run_id = (await gateway.start("default", StartRequest(program.name, given))).run.run_id
                evidence.started[run_id] = Started(run_id, f"k{number}", program, given, expected, 0.0)
                for name, value in expected.signals.items():
                    await gateway.signal("default", run_id, name, {"value": value}, idempotency_key=f"{run_id}-{name}")
            await _approve_until_ended(platform, list(evidence.started))
            await _read(platform, evidence)
        evidence.ledger = await witness.ledger()
    finally:
        await witness.stop()
    return evidence


async def _approve_until_ended(platform: LocalPlatform, run_ids: list[str]) -> None:
    from runtime.store.protocol import ApprovalQuery

    gateway = platform.gateway
    async with asyncio.timeout(50):
        for run_id in run_ids:
            while not (await gateway.wait("default", run_id, 0.1)).status.ended:
                for row in await gateway.approvals("default", ApprovalQuery("default", pending=True)):
                    form = {"mark": form_value(row.show)}
                    await gateway.decide("default", row.approval_id, approved=True, form=form, comment=None, by="test")


async def _read(platform: LocalPlatform, evidence: Evidence) -> None:
    from runtime.store.protocol import RunQuery

    for row in await platform.gateway.runs("default", RunQuery("default", limit=1000)):
        evidence.rows[row.run_id] = views.run(row)
        events = await platform.gateway.events("default", row.run_id, after=0, limit=10_000)
        evidence.journals[row.run_id] = json.loads(json.dumps([views.event(event) for event in events]))
        if row.run_id in evidence.started:
            shown = [{**event, "id": event["seq"]} for event in evidence.journals[row.run_id]]
            evidence.seen[row.run_id] = Seen(row.run_id, shown, 1, ended=True)


@pytest.fixture(scope="session")
def carried_out(tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    return asyncio.run(_carry_out(tmp_path_factory.mktemp("chaos"), 20_261_125))


@pytest.fixture
def evidence(carried_out: Evidence) -> Evidence:
    """A copy to spoil."""
    return copy.deepcopy(carried_out)
