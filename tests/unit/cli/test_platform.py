"""The command on a platform: workflows, runs and what they leave, and the platform itself."""

import re

import pytest

from actors.cli.exits import Exit
from tests.unit.cli.flows import started, waiting_approval


def test_run_a_file_and_watch_it(agentic):
    done = agentic("run", "note.yaml", "-i", "text=42", "--watch", "--show", "note.txt")
    assert "step.succeeded save" in done.output
    assert re.search(r"run [0-9a-f-]{36} succeeded in \d+", done.output)
    assert done.output.rstrip().endswith("── artifact note.txt ──\n\n42")


def test_run_by_name_as_json(agentic):
    agentic("workflows", "publish", "note.yaml")
    assert '"text": "hello!"' in agentic("run", "note", "-w").output
    done = agentic("run", "note", "-w", "-l", "team=blue", "--json")
    assert (done.data["status"], done.data["output"], done.data["labels"]) == ("succeeded", {"text": "hello!"}, {"team": "blue"})


def test_workflows_are_listed_shown_and_deleted(agentic):
    entry = agentic("workflows", "publish", "note.yaml", "--json").data
    assert [each["version"] for each in agentic("workflows", "list", "--json").data if each["name"] == "note"] == [entry["version"]]
    assert "Saves a note." in agentic("workflows", "list").output
    shown = agentic("workflows", "show", "note").output
    assert re.search(r"save\s+python", shown)
    assert re.search(r"text\s+string\s+no", shown)
    agentic("workflows", "publish", "plain-ask.yaml")
    agentic("workflows", "delete", "plain-ask", "--yes")
    agentic("workflows", "show", "plain-ask", expect=Exit.NOT_FOUND)


def test_a_run_is_canceled(agentic):
    run_id = started(agentic, "listen.yaml")
    agentic("runs", "cancel", run_id, "--reason", "enough")
    agentic("runs", "watch", run_id, expect=Exit.CANCELED)
    ended = agentic("run", "note.yaml", "-w", "--json").data["run_id"]
    agentic("runs", "cancel", ended, expect=Exit.CONFLICT)


def test_a_run_is_paused_and_goes_on(agentic):
    run_id = started(agentic, "listen.yaml")
    agentic("runs", "pause", run_id)
    agentic("runs", "resume", run_id)
    agentic("signal", run_id, "ping", "-p", '{"count": 1}')
    agentic("runs", "watch", run_id)


def test_a_failed_run_is_retried_and_forked(agentic, tmp_path):
    flag = tmp_path / "flag"
    run_id = started(agentic, "repair.yaml", "-i", f"flag={flag}")
    failed = agentic("runs", "watch", run_id, expect=Exit.FAILED)
    assert "not yet" in failed.output
    flag.touch()
    retried = agentic("runs", "retry", run_id, "--json").data["run_id"]
    assert agentic("runs", "watch", retried, "--json").data["output"] == {"state": "repaired"}
    steps = {step["step"]: step for step in agentic("runs", "show", retried, "--json").data["steps"]}
    assert (steps["first"]["cached"], steps["second"]["cached"]) == (True, False)
    forked = agentic("runs", "fork", retried, "--from", "second", "-i", f"flag={tmp_path}/missing", "--json").data["run_id"]
    agentic("runs", "watch", forked, expect=Exit.FAILED)


def test_runs_are_listed_and_shown(agentic):
    run_id = agentic("run", "note.yaml", "-w", "--json").data["run_id"]
    assert run_id in [each["run_id"] for each in agentic("runs", "list", "-w", "note", "-s", "succeeded", "--json").data]
    assert run_id in agentic("runs", "list").output
    shown = agentic("runs", "show", run_id).output
    assert re.search(r"save\s+succeeded\s+1", shown)
    assert "hello!" in shown


def test_artifacts_are_listed_printed_and_saved(agentic, tmp_path):
    run_id = agentic("run", "note.yaml", "-w", "--json").data["run_id"]
    assert re.search(r"note.txt\s+5 B\s+text/plain", agentic("artifacts", "list", run_id).output)
    assert agentic("artifacts", "get", run_id, "note.txt").stdout == "hello"
    agentic("artifacts", "get", run_id, "note.txt", "-o", "out.txt")
    assert (tmp_path / "out.txt").read_text() == "hello"
    agentic("artifacts", "get", run_id, "note.txt", "-o", "out.txt", expect=Exit.CONFLICT)
    agentic("artifacts", "get", run_id, "missing", expect=Exit.NOT_FOUND)


def test_what_is_wrong_is_told_with_its_place(agentic, tmp_path):
    (tmp_path / "bad.yaml").write_text("name: bad\nsteps:\n  a: {set: {x: '${{ inputs.nobody }}'}}\n")
    assert "3:" in agentic("workflows", "publish", "bad.yaml", expect=Exit.USAGE).stderr
    assert "/inputs/nobody" in agentic("run", "note.yaml", "-i", "nobody=1", expect=Exit.USAGE).stderr
    agentic("runs", "show", "0198c0de-0000-7000-8000-000000000000", expect=Exit.NOT_FOUND)
    agentic("run", "unknown-workflow", expect=Exit.NOT_FOUND)


def test_status_and_doctor_are_content(agentic):
    assert "ready" in agentic("status").output
    report = agentic("doctor", "--fsck", "--json").data
    assert report["ok"], report
    assert {check["name"]: check["state"] for check in report["checks"]}["journal"] == "ok"


def test_the_database_is_upgraded_twice_without_harm(agentic):
    agentic("db", "upgrade")
    agentic("db", "upgrade")


def test_a_run_without_a_server(agentic, tmp_path, monkeypatch):
    monkeypatch.setenv("AGENTIC_HOME", str(tmp_path / "other"))
    monkeypatch.setenv("AGENTIC_URL", "http://127.0.0.1:1")
    assert agentic("run", "note.yaml", "--local", "--json").data["output"] == {"text": "hello!"}
    assert "── artifact note.txt ──" in agentic("run", "note.yaml", "--local", "--show", "note.txt").output
    assert "--yes: approved" in agentic("run", "plain-ask.yaml", "--local", "--yes").output
    agentic("run", "repair.yaml", "--local", "-i", f"flag={tmp_path}/missing", expect=Exit.FAILED)
    agentic("run", "missing", "--local", expect=Exit.NOT_FOUND)


def test_a_run_is_recorded_and_told_again(agentic, tmp_path, monkeypatch):
    run_id = started(agentic, "ask.yaml")
    approval_id = waiting_approval(agentic, run_id, "ask")
    agentic("approvals", "approve", approval_id, "--form", '{"stars": 3}')
    agentic("runs", "watch", run_id)
    agentic("record", run_id)
    agentic("record", started(agentic, "note.yaml", "--watch"), "-o", "note.cassette.yaml")
    agentic("record", "0198c0de-0000-7000-8000-000000000000", expect=Exit.NOT_FOUND)
    monkeypatch.setenv("AGENTIC_URL", "http://127.0.0.1:1")
    told = agentic("run", "ask.yaml", "--replay", "ask.cassette.yaml", "--json").data
    assert (told["run_id"], told["output"]) == (run_id, {"stars": {"stars": 3}})
    note = tmp_path / "note.cassette.yaml"
    note.write_text(note.read_text().replace("output: hello", "output: hi"))
    assert agentic("run", "note.yaml", "--replay", "note.cassette.yaml", "--json").data["output"] == {"text": "hello!"}
    recorded = agentic("run", "note.yaml", "--replay", "note.cassette.yaml", "--recorded-python", "--show", "note.txt")
    assert "hi!" not in recorded.output, "--show is in place of the output"
    assert "── artifact note.txt ──\n\nhello" in recorded.output


def test_old_runs_are_counted_and_pruned(agentic):
    run_id = started(agentic, "note.yaml", "-w")
    started(agentic, "plain-ask.yaml")
    nothing = agentic("db", "prune", "--json").data
    assert nothing == {"runs": 0, "events": 0, "bytes": 0, "dry_run": False, "vacuumed": False}, "young runs stay"
    counted = agentic("db", "prune", "--older-than", "0s", "--workflow", "note", "--status", "succeeded", "--dry-run", "--json").data
    assert counted["runs"] >= 1
    assert counted["events"] > counted["runs"]
    assert counted["bytes"] > 0
    assert agentic("runs", "show", run_id, "--json").data["status"] == "succeeded"
    assert agentic("db", "prune", "--older-than", "0s", "--workflow", "note", "--status", "failed", "--json").data["runs"] == 0
    pruned = agentic("db", "prune", "--older-than", "0s", "--workflow", "note", "--status", "succeeded", "--vacuum", "--json").data
    assert pruned == {**counted, "dry_run": False, "vacuumed": True}
    agentic("runs", "show", run_id, expect=Exit.NOT_FOUND)
    assert agentic("runs", "list", "--workflow", "plain-ask", "--json").data != []


def test_pruning_speaks_to_people_too(agentic):
    started(agentic, "note.yaml", "-w")
    said = agentic("db", "prune", "--older-than", "0s", "--workflow", "note", "--dry-run").stdout
    assert re.search(r"^[\d,]+ runs with [\d,]+ events, about [\d.]+ k?M?B, would go$", said.strip())
    said = agentic("db", "prune", "--older-than", "0s", "--workflow", "note").stdout
    assert "went" in said
    assert "kept for new runs" in said


@pytest.mark.parametrize("options", [("--older-than", "soon"), ("--status", "running")])
def test_pruning_asks_for_options_that_mean_something(agentic, options):
    agentic("db", "prune", *options, expect=Exit.USAGE)


def test_one_run_is_deleted(agentic):
    run_id = started(agentic, "note.yaml", "-w")
    agentic("runs", "delete", run_id, stdin="n\n", expect=Exit.FAILED)
    agentic("runs", "delete", run_id, "--yes")
    agentic("runs", "show", run_id, expect=Exit.NOT_FOUND)
    agentic("runs", "delete", run_id, "--yes", expect=Exit.NOT_FOUND)
