"""The checks find nothing in what really happened, and each of them finds what is planted."""

import pytest

from tests.chaos import checks
from tests.chaos.evidence import Evidence
from tests.chaos.folding import read_journal


def of_kind(evidence: Evidence, prefix: str, status: str = "succeeded") -> tuple[str, str]:
    """A run and one of its steps whose name begins like this and which has ended so."""
    for run_id, started in evidence.started.items():
        journal = read_journal(evidence.journals[run_id])
        for name in started.expected.steps:
            if (
                name.startswith(prefix)
                and journal.steps.get(name)
                and journal.steps[name].status == status
                and evidence.end(run_id)["event"] == "run.succeeded"
            ):
                return run_id, name
    raise LookupError(prefix)


def test_the_oracle_is_right_about_what_the_host_does(evidence):
    assert checks.judge(evidence) == []
    assert {started.expected.status for started in evidence.started.values()} == {"succeeded", "failed"}
    kinds = {type(node).__name__ for started in evidence.started.values() for node in started.program.nodes.values()}
    assert kinds >= {"Set", "Python", "Http", "Agent", "Map", "Loop", "Child", "Switch", "Fragile", "Once", "Wait"}
    assert max(started.program.size for started in evidence.started.values()) <= 40


def test_a_lost_run_is_found(evidence):
    run_id = next(iter(evidence.started))
    del evidence.rows[run_id], evidence.journals[run_id]
    assert any(run_id in text for text in checks.c1_runs_exist(evidence))


def test_a_run_that_has_not_ended_is_found(evidence):
    run_id = next(iter(evidence.started))
    evidence.journals[run_id].pop()
    assert any(run_id in text for text in checks.c1_runs_exist(evidence))


def test_a_wrong_output_is_found(evidence):
    run_id, _ = of_kind(evidence, "py")
    evidence.journals[run_id][-1]["body"]["output"]["n"] += 1
    assert any("output" in text for text in checks.c2_results(evidence))


def test_a_wrong_step_result_is_found(evidence):
    run_id, step = of_kind(evidence, "py")
    event = next(event for event in evidence.journals[run_id] if event["event"] == "step.succeeded" and event["step"] == step)
    event["body"]["output"] = {"value": 0}
    assert any(f"step {step} gave" in text for text in checks.c2_results(evidence))


def test_an_accepted_cancel_that_did_not_win_is_found(evidence):
    run_id, _ = of_kind(evidence, "py")
    evidence.started[run_id].cancel = {"status": 202, "body": None}
    assert any("instead of canceled" in text for text in checks.c2_results(evidence))


@pytest.mark.parametrize("spoil", ["gap", "repeat", "after the end", "older epoch", "second claim"])
def test_a_broken_journal_is_found(evidence, spoil):
    events = evidence.journals[next(iter(evidence.started))]
    claim = next(event for event in events if event["event"] == "run.claimed")
    if spoil == "gap":
        del events[3]
    elif spoil == "repeat":
        events.insert(3, events[3])
    elif spoil == "after the end":
        events.append({**events[2], "seq": len(events) + 1, "epoch": events[-1]["epoch"]})
    elif spoil == "older epoch":
        events[-1]["epoch"] = 0
    else:
        events.append({**claim, "seq": len(events) + 1})
    assert checks.c3_journals(evidence)


@pytest.mark.parametrize("spoil", ["gap", "repeat", "never committed"])
def test_a_stream_that_differs_from_the_journal_is_found(evidence, spoil):
    seen = next(iter(evidence.seen.values()))
    if spoil == "gap":
        del seen.events[2]
    elif spoil == "repeat":
        seen.events.insert(2, seen.events[2])
    else:
        seen.events.append({**seen.events[-1], "seq": seen.last + 1, "id": seen.last + 1})
    assert checks.c4_streams(evidence)


@pytest.mark.parametrize("spoil", ["lost", "too often", "two keys", "one key for two", "unexpected"])
def test_wrong_effects_are_found(evidence, spoil):
    run_id, step = of_kind(evidence, "py")
    tag = f"{evidence.started[run_id].inputs['token']}/{step}"
    mine = [entry for entry in evidence.ledger if entry.get("tag") == tag]
    other = next(entry for entry in evidence.ledger if entry["kind"] == "effect" and entry["tag"] != tag)
    assert mine
    if spoil == "lost":
        evidence.ledger = [entry for entry in evidence.ledger if entry not in mine]
    elif spoil == "too often":
        evidence.ledger += [{**mine[0], "first": False}] * 3
    elif spoil == "two keys":
        evidence.ledger.append({**mine[0], "key": "another", "first": True})
    elif spoil == "one key for two":
        mine[0]["key"] = other["key"]
    else:
        mine[0]["tag"] += "/elsewhere"
    assert checks.c5_effects(evidence)


def test_a_step_that_may_run_once_and_ran_twice_is_found(evidence):
    run_id, step = of_kind(evidence, "once")
    tag = f"{evidence.started[run_id].inputs['token']}/{step}"
    entry = next(entry for entry in evidence.ledger if entry.get("tag") == tag)
    evidence.ledger.append({**entry, "first": False})
    assert any("carried out once" in text for text in checks.c5_effects(evidence))


def test_webhooks_that_are_missing_or_differ_are_found(evidence):
    evidence.endpoints = ["ends"]
    first, *others = evidence.started
    for run_id in others:
        body = f'{{"data": {{"run_id": "{run_id}"}}}}'
        evidence.ledger.append({"kind": "webhook", "name": "ends", "headers": {"webhook-id": run_id}, "body": body, "signed": True, "status": 200})
    assert [text for text in checks.c6_webhooks(evidence) if first in text]
    assert len(checks.c6_webhooks(evidence)) == 1
    evidence.ledger.append({**evidence.ledger[-1], "body": "{}"})
    evidence.ledger.append({**evidence.ledger[-2], "headers": {"webhook-id": "x"}, "signed": False})
    assert len(checks.c6_webhooks(evidence)) == 3


def test_a_trap_that_was_entered_is_found(evidence):
    evidence.ledger.append({"kind": "trap", "path": "/trap/metadata", "method": "GET", "headers": {}})
    assert checks.c6_webhooks(evidence)


def test_too_few_successes_and_server_errors_are_found(evidence):
    evidence.counts.update({"503": 60})
    assert "C8" in checks.c8_successes(evidence)[0]
    evidence.counts.clear()
    assert checks.c8_successes(evidence)
    evidence.counts["200"] = 1
    evidence.wrong.append("GET /v1/runs: 500 oh")
    assert checks.c8_successes(evidence)


def test_growth_is_found(evidence):
    evidence.before, evidence.after = {"AgentActor": (1, 100.0, 50.0)}, {"AgentActor": (1, 150.0, 60.0)}
    assert checks.c10_resources(evidence) == []
    evidence.after = {"AgentActor": (1, 300.0, 500.0)}
    assert len(checks.c10_resources(evidence)) == 2


def test_findings_of_one_check_are_bounded(evidence):
    evidence.stuck = ["run x"] * 100
    found = [text for text in checks.judge(evidence) if text.startswith("C7")]
    assert len(found) == checks.MOST_FINDINGS + 1
