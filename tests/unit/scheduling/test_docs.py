"""docs/schedules.md says what is so, and its example runs."""

import asyncio
import re
from pathlib import Path

from actors.cli.schedules import schedules
from runtime.definition.yaml import read
from runtime.local import LocalPlatform
from runtime.schedules.overlap import MAX_BUFFER, Overlap, Reason, TickOutcome
from runtime.schedules.spec import DEFAULT_CATCHUP_MS, ScheduleBody, parse_moment
from runtime.scheduling.service import MAX_BACKFILL
from runtime.settings import Settings
from runtime.store.schedules.records import KEPT

TEXT = (Path(__file__).parents[3] / "docs" / "schedules.md").read_text()
WORKFLOW, SCHEDULE = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)


async def test_the_example_runs(tmp_path: Path):
    async with LocalPlatform(Settings(home=tmp_path, drain_ms=1000)) as platform:
        await platform.gateway.publish("default", WORKFLOW)
        row = await platform.schedules.put("default", read(SCHEDULE)[0])
        first, last = re.search(r"--from (\S+) --to (\S+)", TEXT).groups()
        rows = await platform.schedules.backfill("default", row.name, parse_moment(first), parse_moment(last), Overlap.BUFFER_ALL)
        assert len(rows) == 5
        async with asyncio.timeout(30):
            while any(tick.outcome != "started" for tick in await platform.schedules.ticks("default", row.name)):  # noqa: ASYNC110 - the condition is in the database
                await asyncio.sleep(0.02)
        newest = (await platform.schedules.ticks("default", row.name))[0]
        run = await platform.gateway.wait("default", newest.run_id, 10)
        assert run.result == {"text": "blue on 2026-01-09T08:00:00.000Z"}


def words(heading: str) -> set[str]:
    section = TEXT.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return {word for cell in re.findall(r"^\| (`[^|]*) \|", section, re.MULTILINE) for word in re.findall(r"`(\w+)`", cell)}


def test_every_field_and_word_is_explained():
    assert words("What a schedule says") == set(ScheduleBody.model_fields)
    assert words("Overlap") - {"overlap"} == set(Overlap)
    assert words("What became of a tick") == set(TickOutcome)
    assert all(f"`{reason}`" in TEXT for reason in Reason)


def test_the_limits_are_those_of_the_code():
    assert f"at most {MAX_BUFFER} wait" in TEXT
    assert f"at most {MAX_BACKFILL}," in TEXT
    assert f"The last {KEPT:,} records" in TEXT
    assert DEFAULT_CATCHUP_MS == 600_000


def test_every_command_is_one():
    known = {command.name or command.callback.__name__ for command in schedules.registered_commands}
    assert set(re.findall(r"agentic schedules (\w+)", TEXT)) <= known
