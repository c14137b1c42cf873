"""pytest runs tests of workflows as its own."""

import importlib
import subprocess
import sys
import tomllib
from pathlib import Path

from tests.unit.simulation.test_testing import WORKFLOW

ROOT = Path(__file__).parents[3]
TESTS = """\
workflow: flow.yaml
tests:
  - name: it doubles
    expect: {outputs: {twice: 4}}
  - name: it does not treble
    expect: {outputs: {twice: 6}}
"""


def pytest_on(folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "AGENTIC_PYTHON_MODULES": '["tests.unit.simulation.functions"]'}
    # Not through the entry point: it belongs to whatever is installed, and this is about the plugin as it stands here.
    command = [sys.executable, "-m", "pytest", "-p", "runtime.simulation.testing.pytest_plugin", "-p", "no:agentic", "-p", "no:cacheprovider", "-q", *args]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_one_that_passes_and_one_that_fails(tmp_path: Path):
    (tmp_path / "flow.yaml").write_text(WORKFLOW)
    (tmp_path / "flow.test.yaml").write_text(TESTS)
    (tmp_path / "broken.test.yaml").write_text("workflow: flow.yaml\ntests: []\n")
    done = pytest_on(tmp_path, "flow.test.yaml")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "1 failed, 1 passed" in done.stdout
    assert "flow.test.yaml:6:31: it does not treble: output 'twice' differs" in done.stdout
    assert "Traceback" not in done.stdout
    chosen = pytest_on(tmp_path, "flow.test.yaml", "-k", "doubles")
    assert chosen.returncode == 0, chosen.stdout
    broken = pytest_on(tmp_path, "broken.test.yaml")
    assert broken.returncode == 2
    assert "broken.test.yaml:2:8: List should have at least 1 item" in broken.stdout


def test_installations_load_it():
    (value,) = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["pytest11"].values()
    assert importlib.import_module(value).pytest_collect_file is not None


def test_it_costs_other_sessions_nothing():
    heavy = ("ray", "pydantic_ai", "sqlalchemy", "pydantic", "yaml")
    code = f"import runtime.simulation.testing.pytest_plugin, sys; sys.exit(', '.join(set({heavy}) & set(sys.modules)) or 0)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
