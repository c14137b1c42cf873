"""The parts of the harness that keep, count and time."""

import asyncio

import pytest

from runtime.engine.events import Event, Kind
from runtime.store.codec import event_row, read_event
from runtime.store.points import renumber
from runtime.store.rows import EVENT_COLUMNS
from tests.chaos import results
from tests.chaos.failpoints import FailPoints
from tests.chaos.faults import FAULTS, Fault, Injection, load_faults
from tests.chaos.handle import Role, role_of
from tests.chaos.log import FsyncLog, read_lines
from tests.chaos.provider import directives
from tests.chaos.timing import percentiles, take_overs
from tests.chaos.trial import Outcome, Plan
from tests.chaos.values import answer_value


def event(name, at, epoch=0, **body):
    return {"event": name, "at": f"2027-01-01T00:00:{at:06.3f}Z", "epoch": epoch, "body": body}


def started_at(second):
    from tests.chaos.timing import seconds_of

    return seconds_of(f"2027-01-01T00:00:{second:06.3f}Z")


def test_take_overs_are_counted_from_the_injection_to_the_next_claim():
    journal = [event("run.claimed", 1, 1, owner="a"), event("run.claimed", 9.5, 2, owner="b"), event("run.succeeded", 10)]
    assert take_overs([journal], [Injection("kill", started_at(8), owner="a")]) == [pytest.approx(1.5)]


def test_a_run_that_was_released_or_claimed_later_is_no_take_over():
    released = [event("run.claimed", 1, 1, owner="a"), event("run.waiting", 5), event("run.claimed", 9, 2, owner="b")]
    later = [event("run.claimed", 8.5, 1, owner="a"), event("run.claimed", 9, 2, owner="b")]
    assert take_overs([released, later], [Injection("kill", started_at(8), owner="a")]) == []


def test_an_owner_that_was_alone_does_not_count():
    journal = [event("run.claimed", 1, 1, owner="a"), event("run.claimed", 9.5, 2, owner="b")]
    assert take_overs([journal], [Injection("kill", started_at(8), owner="a", detail={"alone": True})]) == []


def test_percentiles():
    assert percentiles([]) == {}
    assert percentiles([float(number) for number in range(1, 101)]) == {"count": 100, "p50": 50.5, "p95": 96.0, "max": 100.0}


def test_directives_are_read_from_a_prompt_and_do_not_change_the_answer():
    prompt = "n is 4. [[script: 429 retry_after=1 x2]] [[script: truncated]]"
    assert [(each.kind, each.options, each.times) for each in directives(prompt)] == [("429", {"retry_after": "1"}, 2), ("truncated", {}, 1)]
    assert answer_value(prompt) == answer_value("n is 4.")


def test_a_log_is_on_disk_when_write_returns_and_a_cut_line_is_left_out(tmp_path):
    async def write():
        log = FsyncLog(tmp_path / "log")
        await asyncio.gather(*(log.write({"n": number}) for number in range(50)))
        assert sorted(line["n"] for line in read_lines(tmp_path / "log")) == list(range(50))
        log.close()

    asyncio.run(write())
    with (tmp_path / "log").open("a") as file:
        file.write('{"n": 5')
    assert len(read_lines(tmp_path / "log")) == 50


@pytest.mark.parametrize(
    ("title", "role"),
    [
        ("ray::WorkflowActor.nudge", Role.WORKFLOW),
        ("ray::ServeReplica:agentic:Api", Role.REPLICA),
        ("ray::ServeController.listen", Role.CONTROLLER),
        ("ray::p1/n1", Role.ISOLATED),
        ("ray::IDLE", Role.OTHER),
        ("ray::DashboardAgent", Role.OTHER),
        ("/x/ray/core/src/ray/raylet/raylet --a", Role.RAYLET),
        ("/x/bin/haproxy -db -f", Role.HAPROXY),
    ],
)
def test_processes_are_known_by_their_titles(title, role):
    assert role_of(title) is role


def test_tickets_and_fences_are_files(tmp_path):
    points = FailPoints(tmp_path)
    ticket = points.arm("turn.before", "pause", seconds=3)
    assert ticket.exists()
    assert points.disarm() == 1
    with points.without("epoch+head"):
        assert {path.name for path in tmp_path.iterdir()} == {"fence.epoch", "fence.head"}
    assert not list(tmp_path.iterdir())
    for wrong in (lambda: points.arm("no.such"), lambda: points.without("no").__enter__()):
        with pytest.raises(ValueError, match="there is no"):
            wrong()


async def nothing(scene):
    """No fault at all."""


def outcome(**values):
    plan = Plan(Fault("F1", "x", nothing, quick=1, bar=1), "sqlite", 1, 10)
    return Outcome(plan, done=10, runs=100, **values)


def test_shards_go_on_after_the_good_ones(tmp_path):
    results.append(tmp_path, outcome().line())
    results.append(tmp_path, outcome(violations=["C1 run x"]).line())
    assert results.done(tmp_path, "F1", "sqlite") == (10, 100, 1)
    assert results.done(tmp_path, "F1", "postgresql") == (0, 0, 0)


def test_the_table_is_written_between_its_markers(tmp_path):
    for seed in (1, 2, 3, 7):
        results.append(tmp_path, outcome(take_over={"count": 3, "p50": 1.0, "p95": 2.0, "max": 3.0}, seconds=45).line() | {"seed": seed})
    results.append(tmp_path, outcome(violations=["C5 an effect | twice"]).line() | {"fence": "intent"})
    page = tmp_path / "page.md"
    page.write_text(f"before\n{results.BEGIN}\nold\n{results.END}\nbetween\n{results.FENCES_BEGIN}\n{results.FENCES_END}\nafter\n")
    results.write_table(tmp_path, page)
    text = page.read_text()
    assert "| F1 | sqlite | 4 | 40 | 400 | 0 | 1.00 / 2.00 / 3.00 s | 3.0 | 1-3, 7 | 0 |" in text
    assert "| intent | F1 | sqlite | 10 | 100 | 1 | 1 | C5 an effect \\| twice |" in text
    assert "old" not in text
    assert text.startswith("before")
    assert text.endswith("after\n")


def test_every_fault_has_a_name_of_its_own_and_both_counts():
    assert len(load_faults()) == len(FAULTS) >= 13
    assert all(fault.quick >= 1 and fault.bar >= fault.quick and fault.databases for fault in FAULTS.values())


def test_events_that_are_renumbered_are_still_whole():
    row = event_row("a run", Event(3, 1, Kind.RUN_STARTED, 1_000))
    renumber([row], 7)
    assert read_event("a run", [row[column.name] for column in EVENT_COLUMNS]).seq == 8
