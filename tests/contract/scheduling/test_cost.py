"""A look that finds nothing to do must cost next to nothing, however many ticks are on record."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, insert

from runtime.schedules.overlap import TickOutcome
from runtime.store.open import Store, open_store
from runtime.store.operations import Work
from runtime.store.schedules import reads, records
from runtime.store.tables import schedule_ticks

STATEMENTS = {
    "due": (reads._DUE, {"now": 5, "limit": 10}),
    "next": (reads._NEXT, {"now": 5}),
    "ready": (reads._READY, {"limit": 10}),
    "any waiting": (reads._ANY_WAITING, {}),
    "of one tick": (records._OF_TICK, {"schedule": "s7", "at": 5}),
    "running": (reads._RUNNING, {"schedule": "s7"}),
    "waiting": (reads._WAITING, {"schedule": "s7"}),
}


@pytest.fixture
async def filled(tmp_path: Path) -> AsyncIterator[Store]:
    """Many schedules with long records, and statistics for the planner."""
    store = await open_store(f"sqlite:///{tmp_path}/ticks.db")

    def fill(connection: Connection) -> None:
        times = ("tick", "last_tick", "due_at", "recorded_at", "settled_at")
        rows = [{"schedule_id": f"s{n % 50}", "count": 1, "outcome": TickOutcome.STARTED.value, **dict.fromkeys(times, n)} for n in range(5000)]
        connection.execute(insert(schedule_ticks), rows)
        connection.exec_driver_sql("ANALYZE")

    await store.writer.write(Work(fill))
    yield store
    await store.close()


@pytest.mark.parametrize("name", STATEMENTS)
async def test_what_every_look_asks_is_answered_by_an_index_over_what_is_open(filled: Store, name: str):
    statement, given = STATEMENTS[name]

    def plan(connection: Connection) -> list[str]:
        compiled = statement.compile(connection)
        values = compiled.construct_params(given)
        found = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {compiled}", tuple(values[key] for key in compiled.positiontup or ()))
        return [row[3] for row in found]

    steps = await filled.reader.read(plan)
    assert steps
    # A scan is only allowed over the ticks that wait, which are none.
    assert [step for step in steps if step.startswith("SCAN") and step != "SCAN CONSTANT ROW" and "ix_schedule_ticks_buffered" not in step] == []
    assert any("INDEX" in step for step in steps)
    # Of the runs, only those that have not ended: the others are without number.
    assert [step for step in steps if "runs" in step and "ix_runs_schedule_open" not in step] == []
