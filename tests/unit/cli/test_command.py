"""The command itself, as far as it goes without a platform. tests/unit/cli/test_platform.py has the rest."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from actors.cli import app
from actors.cli.exits import Exit

VALID = """\
name: hello
inputs:
  who: {type: string, default: world}
steps:
  greet:
    set: {text: "Hello ${{ inputs.who }}"}
outputs: {text: steps.greet.output.text}
"""
INVALID = """\
name: hello
steps:
  greet:
    set: {text: "${{ steps.gret.output }}"}
"""


@pytest.fixture
def command(tmp_path, monkeypatch):
    monkeypatch.setenv("AGENTIC_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("AGENTIC_URL", "http://127.0.0.1:1")
    monkeypatch.chdir(tmp_path)

    def run(*args, stdin=None):
        return CliRunner().invoke(app, list(args), input=stdin)

    return run


def test_help_names_every_command_and_exit_code(command):
    text = command("--help").output
    for name in (
        "up",
        "down",
        "status",
        "run",
        "record",
        "test",
        "validate",
        "schema",
        "workflows",
        "runs",
        "approvals",
        "signal",
        "artifacts",
        "keys",
        "provider-keys",
        "limits",
        "cache",
        "endpoints",
        "hooks",
        "tools",
        "secrets",
        "db",
        "doctor",
    ):
        assert f"\n  {name} " in text, name
    for code in Exit:
        assert f"{int(code)} " in text


def test_help_is_instant():
    """CPU time, because a busy machine makes every clock slow; it is 0.2 s, and `ray` alone would add more than 1 s."""
    code = "import sys, time; from actors.cli import app; app(['--help'], standalone_mode=False); print(time.process_time(), file=sys.stderr)"
    took = [float(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stderr) for _ in range(3)]
    assert min(took) < 0.6, took


def test_nothing_heavy_is_imported_for_help():
    heavy = ("ray", "pydantic_ai", "rich", "httpx2", "pydantic", "sqlalchemy")
    code = f"import sys; from actors.cli import app; sys.exit(', '.join(set({heavy}) & set(sys.modules)) or 0)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_valid_definition(command, tmp_path):
    (tmp_path / "flow.yaml").write_text(VALID)
    done = command("validate", "flow.yaml")
    assert done.exit_code == Exit.OK
    assert "hello is valid" in done.output
    answer = json.loads(command("validate", "flow.yaml", "--json").stdout)
    assert (answer["valid"], answer["workflow"], len(answer["version"])) == (True, "hello", 64)


def test_problems_are_shown_as_a_compiler_shows_them(command, tmp_path):
    (tmp_path / "flow.yaml").write_text(INVALID)
    done = command("validate", "flow.yaml")
    assert done.exit_code == Exit.USAGE
    first = done.stderr.splitlines()[0]
    assert first.startswith("flow.yaml:4:")
    assert "greet" in first
    answer = json.loads(command("validate", "flow.yaml", "--json").stdout)
    assert answer["valid"] is False
    assert answer["errors"][0]["line"] == 4


def test_a_definition_can_come_from_stdin(command):
    assert command("validate", "-", stdin=VALID).exit_code == Exit.OK


def test_a_file_that_is_not_there(command):
    assert command("validate", "missing.yaml").exit_code == Exit.NOT_FOUND


def test_the_schema_is_json(command):
    assert json.loads(command("schema").stdout)["title"] == "Agentic Workflows definition"


@pytest.mark.parametrize(
    "args",
    [
        ("runs", "list"),
        ("runs", "show", "x"),
        ("runs", "watch", "x"),
        ("workflows", "list"),
        ("approvals", "list"),
        ("artifacts", "list", "x"),
        ("keys", "list"),
        ("signal", "x", "name"),
        ("record", "x"),
        ("status",),
        ("run", "some-workflow"),
    ],
)
def test_without_a_platform_every_command_says_so(command, args):
    done = command(*args)
    assert done.exit_code == Exit.UNREACHABLE
    assert "cannot reach http://127.0.0.1:1" in done.stderr


@pytest.mark.parametrize(
    "args",
    [
        ("run",),
        ("nonsense",),
        ("run", "x", "--mode", "dreaming"),
        ("run", "x", "--with", "other.yaml"),
        ("run", "x", "--replay", "c.yaml", "--mode", "live"),
        ("signal", "x", "name", "--payload", "{"),
        ("runs", "decide", "x", "y", "perhaps"),
        ("runs", "fork", "x"),
    ],
)
def test_wrong_usage(command, args):
    assert command(*args).exit_code == Exit.USAGE


def test_settings_that_are_wrong_are_listed(command, monkeypatch):
    monkeypatch.setenv("API_PORT", "99999999")
    monkeypatch.setenv("SECRET_KEY", "short")
    done = command("runs", "list")
    assert done.exit_code == Exit.USAGE
    assert "API_PORT" in done.stderr
    assert "SECRET_KEY" in done.stderr
    assert "short" not in done.stderr.replace("shorter", "")


def test_deleting_asks_first(command):
    assert command("workflows", "delete", "hello", stdin="n\n").exit_code == Exit.CANCELED


def test_down_without_a_platform_is_fine(command):
    done = command("down")
    assert done.exit_code == Exit.OK
    assert "not running" in done.output


def test_doctor_reports_a_fresh_machine(command, tmp_path):
    done = command("doctor", "--json")
    checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert done.exit_code == Exit.OK
    assert checks["database"]["state"] == checks["API key"]["state"] == checks["platform"]["state"] == "note"
    assert checks["Python"]["state"] == checks["import names"]["state"] == "ok"


def test_doctor_sees_a_key_that_others_can_read(command, tmp_path):
    home = Path(tmp_path / "home")
    home.mkdir()
    (home / "api-key").write_text("ak_x")
    (home / "api-key").chmod(0o644)
    done = command("doctor")
    assert done.exit_code == Exit.FAILED
    assert "chmod 600" in done.output
