"""What released versions have journalled means the same in this one: same state, same columns, same definitions, and it goes on.

The goldens are recorded by tests/golden/record.py, once for each release, and never again. A failure here means that runs in databases
out there would change or break: repair the code, not the golden.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from runtime.definition.plan import Plan, plan_for
from runtime.definition.schema import json_schema
from runtime.definition.validation import content_hash, parse
from runtime.engine.advance import advance
from runtime.engine.events import Event, Kind
from runtime.engine.evolve import evolve, fold, initial
from runtime.engine.states import RunStatus
from runtime.store.codec import event_row, read_event
from tests.golden.canonical import canonical, columns_said_by, known_fields

GOLDEN = Path(__file__).parents[2] / "golden"
FILES = sorted(GOLDEN.glob("v*/*.json"))
LOADED: dict[Path, dict[str, Any]] = {path: json.loads(path.read_text()) for path in FILES}
RUNS = [(path, index) for path in FILES for index in range(len(LOADED[path]["runs"]))]
LATER = 1 << 45


def name(value: Any) -> str:
    return f"{value.parent.name}/{value.stem}" if isinstance(value, Path) else str(value)


each_run = pytest.mark.parametrize(("path", "index"), RUNS, ids=name)


def read(path: Path, index: int) -> tuple[dict[str, Any], Plan, list[Event]]:
    """A golden run, its compiled definition, and its events; each call compiles and reads anew."""
    golden = LOADED[path]
    run = golden["runs"][index]
    version = run["columns"]["definition"]
    return run, plan_for(golden["definitions"][version], version), [read_event(run["run_id"], row) for row in run["events"]]


@each_run
def test_a_journal_folds_to_the_same_state_twice(path: Path, index: int):
    for _ in range(2):
        run, plan, events = read(path, index)
        assert canonical(fold(plan, events, run_id=run["run_id"]), LOADED[path]["fields"]) == run["state"]


@each_run
def test_folding_one_by_one_is_folding_at_once(path: Path, index: int):
    run, plan, events = read(path, index)
    state = initial(plan, run["run_id"])
    for event in events:
        state = evolve(state, event)
    assert canonical(state, LOADED[path]["fields"]) == run["state"]


@each_run
def test_the_columns_are_what_the_journal_says(path: Path, index: int):
    run, plan, events = read(path, index)
    assert columns_said_by(fold(plan, events, run_id=run["run_id"]), events[0]) == run["columns"]


@each_run
def test_events_are_written_as_they_were(path: Path, index: int):
    run, _, events = read(path, index)
    fields = LOADED[path]["event_fields"]
    assert [[event_row(run["run_id"], event)[field] for field in fields] for event in events] == run["events"]


@each_run
def test_a_run_that_had_not_ended_goes_on(path: Path, index: int):
    run, plan, events = read(path, index)
    state = fold(plan, events, run_id=run["run_id"])
    if state.ended:
        assert run["columns"]["status"] in {status.value for status in RunStatus if status.ended}
        return
    state = evolve(state, Event(state.head + 1, state.epoch + 1, Kind.RUN_CLAIMED, LATER, body={"owner": "newer"}))
    turn = advance(state, now=LATER, recover=True)
    assert all(event.at == LATER for event in turn.events)
    assert not any(event.kind is Kind.RUN_FAILED for event in turn.events), "a newer release must not end it"


@pytest.mark.parametrize("path", FILES, ids=name)
def test_a_definition_accepted_once_is_accepted_for_ever(path: Path):
    import jsonschema_rs

    schema = jsonschema_rs.Draft202012Validator(json_schema())
    for version, document in LOADED[path]["definitions"].items():
        loaded = parse(document)
        assert (loaded.hash, content_hash(document), loaded.document) == (version, version, document)
        assert schema.is_valid(document)


@pytest.mark.parametrize("path", FILES, ids=name)
def test_every_field_a_release_knew_is_still_there(path: Path):
    for each, known in LOADED[path]["fields"].items():
        assert set(known) <= set(known_fields()[each])


def test_the_goldens_show_every_kind_of_event_and_every_end():
    rows = [row for golden in LOADED.values() for run in golden["runs"] for row in run["events"]]
    assert {row[2] for row in rows} >= {kind.value for kind in Kind} - NOT_YET
    statuses = {run["columns"]["status"] for golden in LOADED.values() for run in golden["runs"]}
    assert statuses >= {"succeeded", "failed", "canceled", "paused", "waiting", "running"}
    assert {path.stem for path in FILES if path.parent.name == "v0.1"} == {
        *("kinds", "talks", "maps", "loops", "people", "families", "crashes", "forks", "cancels", "errors", "large", "pauses", "under_way")
    }


NOT_YET = {"step.scheduled", "call.waiting", "call.answered"}
"""Kinds that no golden has: no release has written one, or they came after the newest goldens and the next release's have them."""


def test_a_changed_meaning_is_noticed():
    """The comparison itself: one value of one step, and nothing of a field that came later."""
    path, index = RUNS[0]
    run, plan, events = read(path, index)
    state = fold(plan, events, run_id=run["run_id"])
    step = next(iter(state.steps.values()))
    step.attempt += 1
    assert canonical(state, LOADED[path]["fields"]) != run["state"]
    step.attempt -= 1
    older = {each: [field for field in known if field != "attempt"] for each, known in LOADED[path]["fields"].items()}
    assert "attempt" not in canonical(step, older)
