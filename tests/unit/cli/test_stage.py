"""Simulated runs, replays and tests by command: no server, no network, no waiting, no trace."""

import json

import pytest
import structlog
from typer.testing import CliRunner

from actors.cli import app
from actors.cli.exits import Exit

FUNCTIONS = "tests.unit.cli.functions"
SLOW = """\
name: slow
inputs: {who: {type: string, default: world}}
steps:
  nap: {wait: {for: 30d}}
  ask: {approval: {message: Well?, expires: 48h}, needs: [nap]}
  say: {agent: {prompt: "Greet ${{ inputs.who }}"}, needs: [ask]}
outputs: {said: steps.say.output}
"""
CALL = """\
name: call
steps:
  kid: {workflow: {name: kid}}
  get: {http: {url: "https://nowhere.invalid/"}}
outputs: {kid: steps.kid.output, get: steps.get.output.status}
"""
KID = "name: kid\nsteps: {one: {set: {x: 1}}}\n"
TESTS = """\
workflow: slow.yaml
tests:
  - name: greets
    approvals: {ask: approve}
    expect: {took: 30d}
  - name: fails
    approvals: {ask: reject}
"""


@pytest.fixture
def agentic(tmp_path, monkeypatch):
    monkeypatch.setenv("AGENTIC_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("AGENTIC_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AGENTIC_PYTHON_MODULES", json.dumps([FUNCTIONS]))
    monkeypatch.chdir(tmp_path)
    for name, text in {"slow": SLOW, "call": CALL, "kid": KID, "slow.test": TESTS}.items():
        (tmp_path / f"{name}.yaml").write_text(text)

    def run(*args, expect=Exit.OK):
        done = CliRunner().invoke(app, list(args), catch_exceptions=False)
        assert done.exit_code == expect, done.output
        return done

    yield run
    structlog.reset_defaults()


def test_a_month_and_an_answer_take_no_time_and_leave_no_trace(agentic, tmp_path):
    done = agentic("run", "slow.yaml", "--local", "--yes", "-l", "a=b", "-i", "who=ida")
    assert "succeeded in 720 h 00 m" in done.output
    assert "[simulated]" in done.output
    assert not (tmp_path / "home").exists()


def test_without_an_answer_the_approval_expires(agentic):
    run = json.loads(agentic("run", "slow.yaml", "--local", "--json", expect=Exit.FAILED).stdout)
    assert run["error"]["code"] == "rejected"


def test_what_nobody_can_answer_ends_with_a_reason(agentic, tmp_path):
    (tmp_path / "ask.yaml").write_text("name: ask\nsteps: {review: {approval: {message: Well?}}}\n")
    done = agentic("run", "ask.yaml", "--local", expect=Exit.CANCELED)
    assert "run.canceling: the run waits for the approval of step review, which nobody gives; --yes approves" in done.output


def test_the_same_seed_gives_the_same_answer(agentic):
    first, again = [json.loads(agentic("run", "slow.yaml", "--local", "--yes", "--seed", "7", "--json").stdout)["output"] for _ in range(2)]
    assert first == again


def test_workflows_that_steps_start_come_along(agentic):
    run = json.loads(agentic("run", "call.yaml", "--local", "--with", "kid.yaml", "--json").stdout)
    assert run["output"] == {"kid": {"one": {"x": 1}}, "get": 200}
    run = json.loads(agentic("run", "call.yaml", "--local", "--json", expect=Exit.FAILED).stdout)
    assert "there is no workflow 'kid'" in run["error"]["message"]


async def test_or_from_the_database_that_is_there(agentic, tmp_path):
    import asyncio

    from runtime.local import LocalPlatform
    from runtime.settings import Settings

    async with LocalPlatform(Settings(home=tmp_path / "home", drain_ms=100)) as platform:
        for source in (KID, CALL):
            await platform.gateway.publish("default", source)
    for target in ("call.yaml", "call"):
        done = await asyncio.to_thread(agentic, "run", target, "--local", "--json")
        assert json.loads(done.stdout)["output"] == {"kid": {"one": {"x": 1}}, "get": 200}
    await asyncio.to_thread(agentic, "run", "other", "--local", expect=Exit.NOT_FOUND)
    async with LocalPlatform(Settings(home=tmp_path / "home", drain_ms=100)) as platform:
        assert await platform.gateway.active() == 0


def test_recorded_replayed_and_told_where_it_differs(agentic, tmp_path):
    agentic("run", "call.yaml", "--local", "--with", "kid.yaml", "--record", "call.cassette.yaml")
    done = agentic("run", "call.yaml", "--with", "kid.yaml", "--replay", "call.cassette.yaml")
    assert '"get": 200' in done.output
    (tmp_path / "call.yaml").write_text(CALL.replace("outputs:", '  more: {http: {url: "https://nowhere.invalid/"}}\noutputs:'))
    done = agentic("run", "call.yaml", "--with", "kid.yaml", "--replay", "call.cassette.yaml", expect=Exit.FAILED)
    assert "agentic: the replay differs: step more was not carried out at all when this was recorded" in done.stderr


def test_tests_are_run_and_told(agentic, tmp_path):
    done = agentic("test", "--junit", "results.xml", expect=Exit.FAILED)
    assert "✔ slow.test.yaml  greets" in done.output
    assert "slow.test.yaml:6:5: fails: the run failed in step ask: rejected" in done.output
    assert "1 passed, 1 failed" in done.output
    assert 'failures="1"' in (tmp_path / "results.xml").read_text()
    assert "1 passed in" in agentic("test", "slow.test.yaml", "-k", "greets").output
    report = json.loads(agentic("test", "--json", "-k", "greets").stdout)
    assert [(test["name"], test["passed"], test["steps"]["say"]) for test in report["tests"]] == [("greets", True, "succeeded")]


def test_files_that_are_not_valid_and_those_that_are_not_there(agentic, tmp_path):
    (tmp_path / "slow.test.yaml").write_text("workflow: slow.yaml\ntests:\n  - name: one\n    model: {sey: []}\n")
    assert "slow.test.yaml:4:18: the workflow has no step 'sey'" in agentic("test", expect=Exit.USAGE).output
    (tmp_path / "empty").mkdir()
    agentic("test", "empty", expect=Exit.NOT_FOUND)
    agentic("test", "missing", expect=Exit.NOT_FOUND)
