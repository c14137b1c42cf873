"""The tests that the examples come with, and docs/testing.md: everything there runs as it stands there."""

import json
import re
from pathlib import Path

import pytest
import structlog
import yaml
from typer.testing import CliRunner

from actors.cli import app
from runtime.settings import Settings
from runtime.simulation.cassette import MAX_BYTES, Cassette
from runtime.simulation.recording import MAX_SAVED
from runtime.simulation.testing.document import DEFAULT_START, Case, Document, Expect
from runtime.simulation.testing.files import TestFile, discover, load
from runtime.simulation.testing.runner import run_case

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "testing.md").read_text()
NAMED = dict(re.findall(r"```yaml (\S+)\n(.*?)```", TEXT, re.DOTALL))
PLAIN = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
FILES = [load(path) for path in discover([ROOT / "examples"])]
WORKFLOWS = sorted((ROOT / "examples").glob("*/workflow.yaml"))


@pytest.mark.parametrize(("file", "case"), [(file, case) for file in FILES for case in file.cases], ids=lambda one: getattr(one, "name", ""))
async def test_the_examples_pass_their_tests(file: TestFile, case: Case) -> None:
    result = await run_case(file, case, Settings())
    assert list(result.told()) == []


def test_every_example_has_tests() -> None:
    assert {(file.path.parent / file.document.workflow).resolve() for file in FILES} == set(WORKFLOWS)


@pytest.fixture
def pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name, text in NAMED.items():
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AGENTIC_HOME", str(tmp_path / "home"))
    yield tmp_path
    structlog.reset_defaults()


def invoke(*args: str):
    return CliRunner().invoke(app, list(args), catch_exceptions=False)


def test_the_page_passes_its_tests(pages: Path) -> None:
    done = invoke("test")
    assert done.exit_code == 0, done.output
    shown = re.search(r"\$ agentic test\n(.*?)```", TEXT, re.DOTALL)[1]
    assert [line.rsplit("  ", 1)[0] for line in done.output.splitlines()[:-1]] == [line.rsplit("  ", 1)[0] for line in shown.splitlines()[:-1]]


def test_a_failure_looks_as_shown(pages: Path) -> None:
    path = pages / "refund.test.yaml"
    path.write_text(path.read_text().replace("judge: [{output: {pay: true, reason: broken}}]", "judge: [{output: {pay: true, reason: late}}]"))
    output = invoke("test", "-k", "small").output
    shown = re.search(r"```\n(refund\.test\.yaml:.*?)```", TEXT, re.DOTALL)[1]
    assert [line.strip() for line in shown.splitlines()] == [line.strip() for line in output.splitlines()[1:4]]


def test_the_replay_of_the_page(pages: Path) -> None:
    args = ["-i", "order=A-1", "-i", "sum=20"]
    assert invoke("run", "refund.yaml", "--local", *args, "--record", "refund.cassette.yaml").exit_code == 0
    done = invoke("run", "refund.yaml", "--replay", "refund.cassette.yaml", "--json")
    paid = json.loads(done.stdout)["output"]["paid"]
    (case,) = yaml.safe_load(PLAIN[0])
    case["expect"]["outputs"]["paid"] = paid
    (pages / "march.test.yaml").write_text(yaml.safe_dump({"workflow": "refund.yaml", "tests": [case]}))
    done = invoke("test", "march.test.yaml")
    assert done.exit_code == 0, done.output
    assert list(yaml.safe_load(PLAIN[1])) == list(Cassette.model_fields)


def rows(heading: str) -> set[str]:
    table = TEXT.split(f"| {heading} | |\n|---|---|\n")[1].split("\n\n")[0]
    return {word for row in table.splitlines() for word in re.findall(r"`(\w+)`", row.split(" | ")[0])}


def test_every_field_is_explained_and_every_limit_true() -> None:
    assert rows("field") == {field.alias or name for name, field in Document.model_fields.items()}
    assert rows("field of a test") == set(Case.model_fields)
    assert rows("field of `expect`") == set(Expect.model_fields)
    assert f"more than {MAX_SAVED >> 20} MiB" in TEXT
    assert f"at most {MAX_BYTES >> 20} MiB" in TEXT
    assert DEFAULT_START == 1_767_258_000_000
