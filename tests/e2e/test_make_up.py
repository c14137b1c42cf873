"""What the README promises to a stranger: a copy of the repository, `make up`, `make down`. Installs from the package index."""

import os
import re
import shutil
import socket
import subprocess
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def clone(tmp_path):
    """The files git would keep, and nothing else of this machine."""
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    target = tmp_path / "clone"
    for name in listed:
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    return target


def make(folder, target, port, timeout):
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("AGENTIC_", "RAY_", "VIRTUAL_ENV", "PYTHONPATH"))}
    done = subprocess.run(["make", target], check=False, cwd=folder, env={**inherited, "API_PORT": str(port)}, capture_output=True, text=True, timeout=timeout)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def processes_of(folder):
    """Command lines of processes that were started from this folder's virtual environment."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            text = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if str(folder / ".venv") in text:
            found.append(text)
    return found


@pytest.mark.timeout(900)
def test_a_stranger_gets_a_brief_from_one_command(clone):
    port = free_port()
    shown = make(clone, "up", port, 600)
    try:
        assert "--yes: approved" in shown
        assert re.search(r"run [0-9a-f-]{36} succeeded", shown)
        assert "[simulated]" in shown.split("── artifact brief.md ──")[1]
        assert f"http://127.0.0.1:{port}/docs" in shown
        assert "make down" in shown
        assert urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=10).status == 200
        again = make(clone, "up", port, 120)
        assert "installing" not in again, "a second call installs nothing"
    finally:
        make(clone, "down", port, 180)
    assert processes_of(clone) == []
