"""The command against the real HTTP API, with the platform of the local mode behind it in a thread."""

import json
import re
import socket
import threading
from contextlib import asynccontextmanager

import pytest
import uvicorn
from typer.testing import CliRunner

from actors.cli import app
from actors.cli.exits import Exit
from actors.cli.limits import _rows
from runtime.api.app import build_app
from runtime.api.keys import ensure_local_key
from runtime.api.services import over
from runtime.local import LocalPlatform
from runtime.settings import Settings

FUNCTIONS = "tests.unit.cli.functions"
NOTE = f"""\
name: note
description: Saves a note.
inputs:
  text: {{type: string, default: hello}}
steps:
  save:
    python: {{function: "{FUNCTIONS}:save", args: {{text: "${{{{ inputs.text }}}}"}}}}
  loud:
    set: {{text: "${{{{ steps.save.output }}}}!"}}
outputs: {{text: steps.loud.output.text}}
"""
ASK = """\
name: ask
steps:
  review:
    approval:
      message: Publish it?
      form: {type: object, properties: {stars: {type: integer}}}
outputs: {stars: steps.review.output.form}
"""
PLAIN_ASK = "name: plain-ask\nsteps:\n  review: {approval: {message: 'Go on?'}}\n"
PAY = f"""\
name: pay
steps:
  work: {{agent: {{prompt: "Pay. amount: 7", tools: [{{function: "{FUNCTIONS}:pay", approve: args.amount > 5}}]}}}}
outputs: {{reply: steps.work.output}}
"""
LISTEN = "name: listen\nsteps:\n  wait: {signal: {name: ping, payload: {type: object, required: [count]}}}\noutputs: {count: steps.wait.output.count}\n"
REPAIR = f"""\
name: repair
inputs:
  flag: {{type: string}}
steps:
  first: {{python: {{function: "{FUNCTIONS}:save", args: {{text: once}}}}}}
  second:
    python: {{function: "{FUNCTIONS}:broken_until", args: {{flag: "${{{{ inputs.flag }}}}"}}}}
    needs: [first]
    retry: {{max_attempts: 1}}
outputs: {{state: steps.second.output}}
"""


@pytest.fixture(scope="module")
def platform(tmp_path_factory):
    """A served platform: (home, url)."""
    home = tmp_path_factory.mktemp("home")
    settings = Settings(home=home, python_modules=[FUNCTIONS], drain_ms=1000)

    @asynccontextmanager
    async def services():
        async with LocalPlatform(settings) as local:
            await ensure_local_key(local.store.catalog, home)
            yield over(local.store, local.gateway, settings)

    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(build_app(services, settings), log_level="error", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield home, f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


@pytest.fixture
def agentic(platform, tmp_path, monkeypatch):
    """The command on this platform; returns the result, its JSON in `.data` when it was asked for."""
    home, url = platform
    monkeypatch.setenv("AGENTIC_HOME", str(home))
    monkeypatch.setenv("AGENTIC_PYTHON_MODULES", json.dumps([FUNCTIONS]))
    monkeypatch.setenv("AGENTIC_URL", url)
    monkeypatch.delenv("AGENTIC_API_KEY", raising=False)
    monkeypatch.chdir(tmp_path)
    for name, text in {"note": NOTE, "ask": ASK, "plain-ask": PLAIN_ASK, "listen": LISTEN, "repair": REPAIR, "pay": PAY}.items():
        (tmp_path / f"{name}.yaml").write_text(text)
    # The key is written while the platform starts; this request is answered when it has.
    ready(url)

    def run(*args, expect=Exit.OK, stdin=None):
        done = CliRunner().invoke(app, list(args), input=stdin, catch_exceptions=False)
        assert done.exit_code == expect, done.output
        done.data = json.loads(done.stdout) if "--json" in args and done.stdout else None
        return done

    return run


def ready(url):
    import httpx2

    assert httpx2.get(f"{url}/readyz", timeout=30).status_code == 200


def started(agentic, *args):
    return agentic("run", *args, "--json").data["run_id"]


def waiting_approval(agentic, run_id, workflow):
    """The approval a run asks, once it has asked: the watcher stops at the question because nobody answers it here."""
    import httpx2

    from actors.cli.connection import connect

    connection = connect()
    headers = {"Authorization": f"Bearer {connection.key}", "Accept": "text/event-stream"}
    with httpx2.stream("GET", f"{connection.url}/v1/runs/{run_id}/events", headers=headers, timeout=30) as response:
        for line in response.iter_lines():
            if line == "event: run.waiting":
                break
    (entry,) = agentic("approvals", "list", "--run", run_id, "--json").data
    assert entry["workflow"] == workflow
    return entry["approval_id"]


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


def test_a_question_is_answered_by_yes_and_says_so(agentic):
    done = agentic("run", "plain-ask.yaml", "--yes")
    assert "--yes: approved" in done.output


def test_a_question_is_answered_by_hand(agentic):
    run_id = started(agentic, "ask.yaml")
    approval_id = waiting_approval(agentic, run_id, "ask")
    assert "Publish it?" in agentic("approvals", "show", approval_id).output
    agentic("approvals", "approve", approval_id, "--form", '{"stars": "many"}', expect=Exit.USAGE)
    agentic("approvals", "approve", approval_id, "--form", '{"stars": 3}', "--comment", "good")
    assert agentic("runs", "watch", run_id, "--json").data["output"] == {"stars": {"stars": 3}}
    again = agentic("approvals", "reject", approval_id, expect=Exit.CONFLICT)
    assert "the first decision stands" in again.stderr or "already ended" in again.stderr
    assert approval_id in agentic("approvals", "list", "--all").output
    assert approval_id not in agentic("approvals", "list").output


def test_a_call_of_a_tool_is_approved_with_other_arguments(agentic):
    run_id = started(agentic, "pay.yaml")
    approval_id = waiting_approval(agentic, run_id, "pay")
    assert "The agent wants to call pay" in agentic("approvals", "list", "--run", run_id).output.replace("\n", " ")
    shown = agentic("approvals", "show", approval_id).output
    assert re.search(r"tool\W+pay", shown)
    assert re.search(r"amount\W+7", shown)
    agentic("approvals", "approve", approval_id, "--form", '{"args": {"amount": "all"}}', expect=Exit.USAGE)
    agentic("approvals", "approve", approval_id, "--form", '{"args": {"amount": 6}}')
    assert "paid 6" in agentic("runs", "watch", run_id, "--json").data["output"]["reply"]


def test_a_call_of_a_tool_is_approved_as_it_is_by_yes(agentic):
    done = agentic("run", "pay.yaml", "--yes", "--watch")
    assert "--yes: approved" in done.output
    assert "paid 7" in done.output


def test_a_rejection_fails_the_run(agentic):
    run_id = started(agentic, "plain-ask.yaml")
    agentic("approvals", "reject", waiting_approval(agentic, run_id, "plain-ask"))
    done = agentic("runs", "watch", run_id, expect=Exit.FAILED)
    assert "rejected" in done.output


def test_a_signal_reaches_its_step(agentic):
    run_id = started(agentic, "listen.yaml")
    agentic("signal", run_id, "ping", "-p", '{"count": 7}')
    assert agentic("runs", "watch", run_id, "--json").data["output"] == {"count": 7}
    agentic("signal", run_id, "ping", expect=Exit.CONFLICT)


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


def test_keys_come_and_go(agentic, monkeypatch):
    made = agentic("keys", "create", "for a test", "--scope", "read", "--days", "1", "--json").data
    assert made["key_id"] in agentic("keys", "list").output
    monkeypatch.setenv("AGENTIC_API_KEY", made["key"])
    agentic("runs", "list")
    agentic("workflows", "publish", "note.yaml", expect=Exit.REFUSED)
    monkeypatch.delenv("AGENTIC_API_KEY")
    agentic("keys", "revoke", made["key_id"])
    monkeypatch.setenv("AGENTIC_API_KEY", "nonsense")
    assert "AGENTIC_API_KEY" in agentic("runs", "list", expect=Exit.REFUSED).stderr


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


SCHEDULE = """\
name: every-morning
workflow: note
cron: 0 9 * * MON-FRI
timezone: Europe/Berlin
tick_input: text
overlap: allow_all
"""


def test_schedules(agentic, tmp_path):
    assert agentic("schedules", "list", "--json").data == []
    assert "no schedules yet" in agentic("schedules", "list").output
    agentic("workflows", "publish", "note.yaml")
    (tmp_path / "schedule.yaml").write_text(SCHEDULE)
    assert "every-morning starts note: At 09:00 on Monday through Friday" in agentic("schedules", "put", "schedule.yaml").output
    assert "active" in agentic("schedules", "list").output
    assert len(agentic("schedules", "upcoming", "every-morning", "-n", "3", "--json").data) == 3
    assert "due" in agentic("schedules", "upcoming", "every-morning").output
    assert "paused" in agentic("schedules", "pause", "every-morning", "--note", "holidays").output
    assert "holidays" in agentic("schedules", "show", "every-morning").output
    assert "next at" in agentic("schedules", "resume", "every-morning").output
    run = agentic("runs", "watch", agentic("schedules", "trigger", "every-morning").output.strip(), "--json").data
    assert run["schedule"]["tick"] is None
    week = ("--from", "2026-01-05T00:00:00+01:00", "--to", "2026-01-06T23:00:00+01:00")
    asked = agentic("schedules", "backfill", "every-morning", *week, "--parallel", "--json").data
    assert [tick["tick"] for tick in asked] == ["2026-01-05T08:00:00.000Z", "2026-01-06T08:00:00.000Z"]
    while any(tick["outcome"] == "buffered" for tick in agentic("schedules", "show", "every-morning", "--json").data["ticks"]):
        continue
    assert "started" in agentic("schedules", "backfill", "every-morning", *week).output
    assert "is deleted" in agentic("schedules", "delete", "every-morning", "--yes").output
    assert "there is no schedule" in agentic("schedules", "show", "every-morning", expect=Exit.NOT_FOUND).output


def test_a_schedule_that_is_wrong_says_all_of_it(agentic, tmp_path):
    (tmp_path / "wrong.yaml").write_text("name: wrong\nworkflow: note\ncron: 61 * * * *\ntimezone: Berln\n")
    output = agentic("schedules", "put", "wrong.yaml", expect=Exit.USAGE).output
    assert "/cron/0: the minute field '61'" in output
    assert "/timezone: there is no time zone 'Berln'" in output
    (tmp_path / "nameless.yaml").write_text("workflow: note\n")
    assert "`name`" in agentic("schedules", "put", "nameless.yaml", expect=Exit.USAGE).output
    (tmp_path / "schedule.yaml").write_text(SCHEDULE)
    agentic("workflows", "publish", "note.yaml")
    agentic("schedules", "put", "schedule.yaml", "--json")
    assert "nothing was deleted" in agentic("schedules", "delete", "every-morning", expect=Exit.CANCELED, stdin="n\n").output
    agentic("schedules", "delete", "every-morning", "-y")


def test_endpoints_from_their_making_to_their_end(agentic):
    made = agentic("endpoints", "create", "http://127.0.0.1:1/in", "-e", "run.failed", "-w", "note", "-d", "The desk.", "--json").data
    name = made["endpoint_id"]
    assert made["secret"].startswith("whsec_")
    assert "whsec_" in agentic("endpoints", "create", "https://receiver.example/").output
    listed = agentic("endpoints", "list", "--json").data
    assert [entry["url"] for entry in listed] == ["http://127.0.0.1:1/in", "https://receiver.example/"]
    assert "run.failed" in agentic("endpoints", "list").output
    assert "enabled" in agentic("endpoints", "update", name, "--all-workflows", "-e", "run.succeeded").output
    shown = agentic("endpoints", "show", name, "--json").data
    assert (shown["events"], shown["workflows"], shown["description"]) == (["run.succeeded"], None, "The desk.")
    assert "whsec_" in agentic("endpoints", "rotate", name).output
    delivery = agentic("endpoints", "test", name, "--json").data["delivery_id"]
    assert delivery in agentic("endpoints", "deliveries", name).output
    assert "again" in agentic("endpoints", "redeliver", name, delivery).output
    assert "disabled: by hand" in agentic("endpoints", "disable", name).output
    agentic("endpoints", "test", name, expect=Exit.CONFLICT)
    assert "disabled: by hand" in agentic("endpoints", "show", name).output
    assert "enabled" in agentic("endpoints", "enable", name).output
    agentic("endpoints", "delete", name)
    agentic("endpoints", "show", name, expect=Exit.NOT_FOUND)


def test_hooks_from_their_making_to_their_end(agentic, tmp_path):
    import httpx2

    started(agentic, "note.yaml")
    (tmp_path / "inputs.json").write_text('{"text": "${{ body.say }}"}')
    made = agentic("hooks", "create", "push", "note", "--verify", "none", "-i", "@inputs.json", "-l", "from=shop", "--json").data
    name = made["hook_id"]
    answer = httpx2.post(made["url"], json={"say": "hi"}, timeout=30)
    assert answer.status_code == 202
    run = agentic("runs", "show", answer.json()["run_id"], "--json").data
    assert (run["inputs"], run["labels"]) == ({"text": "hi"}, {"from": "shop"})
    assert [entry["name"] for entry in agentic("hooks", "list", "--json").data] == ["push"]
    assert "push" in agentic("hooks", "list").output
    assert "note" in agentic("hooks", "show", name).output
    rotated = agentic("hooks", "rotate", name)
    assert made["url"] not in rotated.output
    assert "/hooks/hk_" in rotated.output
    signed = agentic("hooks", "create", "signed", "note").output
    assert "whsec_" in signed
    agentic("hooks", "delete", name)
    agentic("hooks", "show", name, expect=Exit.NOT_FOUND)


def test_secrets_are_rewrapped_under_the_first_key(agentic):
    agentic("endpoints", "create", "https://receiver.example/rewrap")
    for words in (("db", "rewrap"), ("secrets", "rotate")):
        assert "0 secrets rewrapped" in agentic(*words).output


def test_secrets_that_stay_shut_are_named_and_go_when_told(agentic, monkeypatch):
    made = agentic("endpoints", "create", "https://receiver.example/lost", "--json").data
    agentic("provider-keys", "set", "google", stdin="a-key-that-is-long-enough")
    assert "every stored secret can be opened" in agentic("secrets", "check").output
    assert "nothing is deleted" in agentic("secrets", "discard").output
    monkeypatch.setenv("SECRET_KEY", "another" * 8)
    found = agentic("secrets", "check", expect=Exit.FAILED).output
    assert f"endpoint {made['endpoint_id']} of tenant default" in found
    assert "provider-key google of tenant default" in found
    assert "left as they are" in agentic("secrets", "rotate", expect=Exit.FAILED).output
    agentic("secrets", "discard", stdin="n\n", expect=Exit.CANCELED)
    assert "deleted" in agentic("secrets", "discard", "--yes").output
    assert "every stored secret can be opened" in agentic("secrets", "check").output
    assert agentic("provider-keys", "list", "--json").data == []


def test_provider_keys_from_their_setting_to_their_end(agentic):
    key = "sk-from-standard-input-4711"
    shown = agentic("provider-keys", "set", "openai", stdin=f"{key}\n").output
    assert "…4711 for https://api.openai.com/v1" in shown
    assert key not in shown
    entry = agentic("provider-keys", "set", "openai", "--base-url", "https://127.0.0.1:9/v1", stdin=key, expect=Exit.USAGE)
    assert "/base_url" in entry.output
    (listed,) = agentic("provider-keys", "list", "--json").data
    assert (listed["provider"], listed["last_four"]) == ("openai", "4711")
    assert "…4711" in agentic("provider-keys", "list").output
    agentic("provider-keys", "set", "openai", stdin="", expect=Exit.USAGE)
    agentic("provider-keys", "set", "openai", key, expect=Exit.USAGE)
    agentic("provider-keys", "set", "openai", "--no-key", "--base-url", "https://elsewhere.example", expect=Exit.USAGE)
    agentic("provider-keys", "delete", "openai")
    assert "no key for https://elsewhere.example" in agentic("provider-keys", "set", "openai", "--no-key", "--base-url", "https://elsewhere.example").output
    agentic("provider-keys", "delete", "openai")
    agentic("provider-keys", "test", "openai", expect=Exit.NOT_FOUND)


def test_a_provider_that_does_not_take_the_key_is_a_failed_check(agentic, monkeypatch):
    from runtime.keys import service
    from runtime.keys.probe import Probed, Verdict

    async def refused(*_):
        return Probed(Verdict.REFUSED, "the provider refuses the key (status 401)", 401, 5)

    agentic("provider-keys", "set", "anthropic", stdin="sk-not-the-right-one-1")
    monkeypatch.setattr(service, "probe", refused)
    assert "refused: the provider refuses the key" in agentic("provider-keys", "test", "anthropic", expect=Exit.FAILED).output
    agentic("provider-keys", "delete", "anthropic")


def test_limits_and_kept_answers(agentic):
    assert "no provider key is in use" in agentic("limits").output
    assert agentic("limits", "--json").data == []
    agentic("provider-keys", "limit", "openai", "--in-flight", "5", expect=Exit.NOT_FOUND)
    agentic("provider-keys", "set", "openai", stdin="sk-canary-2718281828454711")
    assert "requests per minute: 3000, in flight: 5" in agentic("provider-keys", "limit", "openai", "--requests-per-minute", "3000", "--in-flight", "5").output
    assert "no limits" in agentic("provider-keys", "limit", "openai").output
    assert set(agentic("provider-keys", "list", "--json").data[0]["limits"].values()) == {None}
    agentic("provider-keys", "limit", "openai", "--in-flight", "0", expect=Exit.USAGE)
    agentic("provider-keys", "delete", "openai")
    assert "0 answers, 0 bytes" in agentic("cache", "show").output
    assert "0 answers forgotten" in agentic("cache", "clear", "--workflow", "note").output
    assert agentic("cache", "show", "--json").data == {"entries": 0, "bytes": 0}


def test_the_table_of_limits():
    model = {
        "model": "m",
        "requests_per_minute": 500.0,
        "tokens_per_minute": None,
        "careful_requests_per_minute": 120.4,
        "paused_ms": 4000,
        "refusals": 2,
        "waiting": 7,
    }
    entry = {
        "provider": "openai",
        "shared": False,
        "limits": {"requests_per_minute": 3000, "tokens_per_minute": None, "in_flight": 50},
        "in_flight": 3,
        "waiting": 7,
    }
    assert _rows({**entry, "models": [model]}) == [
        ("openai", "all", "3000", "", "3 of 50", "7", "", ""),
        ("openai", "m", "120", "", "", 7, "4 s", 2),
    ]
    (row,) = _rows({**entry, "shared": True, "in_flight": None, "waiting": None, "models": []})
    assert row[0] == "openai (operator's)"
