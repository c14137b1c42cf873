"""The rules of this repository, as tests: sizes, words, documents and packaging."""

import ast
import re
import statistics
import subprocess
import tomllib
import zipfile
from importlib.metadata import packages_distributions
from itertools import chain
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder

from docs.generate import DOCUMENTS
from runtime.definition.model import StepKind
from runtime.engine.states import RunStatus, StepStatus, WaitingFor
from runtime.keys.probe import Verdict
from runtime.schedules.overlap import Overlap, TickOutcome
from runtime.settings import Settings
from runtime.store.protocol import MessageKind
from runtime.store.webhooks import DeliveryState

ROOT = Path(__file__).parents[2]
PRODUCT = ("runtime", "actors", "bench", "docs", "examples")
SELF = Path(__file__)


def files(*suffixes: str) -> list[Path]:
    """Every file git would keep, new ones included."""
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    return [ROOT / name for name in listed if (not suffixes or name.endswith(suffixes)) and (ROOT / name).is_file()]


def modules() -> list[Path]:
    return [path for path in files(".py") if path.relative_to(ROOT).parts[0] in {*PRODUCT, "serve_app.py"}]


def lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


# --- sizes -----------------------------------------------------------------------------------------------------------


def test_no_module_is_longer_than_400_lines():
    assert {str(path.relative_to(ROOT)): lines(path) for path in files(".py") if lines(path) > 400} == {}


def test_the_median_module_has_at_most_100_lines():
    assert statistics.median(lines(path) for path in modules() if lines(path) > 5) <= 100


def test_no_function_is_longer_than_60_lines():
    long = {}
    for path in modules():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (node.end_lineno or 0) - node.lineno + 1 > 60:
                long[f"{path.relative_to(ROOT)}:{node.name}"] = (node.end_lineno or 0) - node.lineno + 1
    assert long == {}


def test_the_core_idea_fits_into_six_files_and_700_lines():
    section = read("README.md").split("## The core in six files")[1].split("\n## ")[0]
    named = re.findall(r"\]\((runtime/[\w/]+\.py)\) \| \d+ \|", section)
    assert len(named) == len(set(named)) == 6
    assert sum(lines(ROOT / name) for name in named) < 700


# --- what must not be in a file --------------------------------------------------------------------------------------

MACHINE_PATH = re.compile(r"/(?:root|work|home/[a-z][\w-]*|Users/\w+|opt/wheels|tmp/[a-z][\w-]*/[\w.-]+)/")
INDEX = re.compile(r"--(?:extra-)?index-url|--find-links|--trusted-host|://[\w.-]*(?:pypi|pythonhosted|registry)[\w.-]*/")
ELSEWHERE = re.compile(r"\b(?:DURABILITY|DESIGN|ANCHORS|SECURITY_RULES|DEPENDENCIES|SEED)\b(?!_)|\bRAY\.md")
SECRET = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY|\bAKIA[0-9A-Z]{16}\b|\bsk-[A-Za-z0-9]{32,}|\bgh[pousr]_[A-Za-z0-9]{36}")


@pytest.mark.parametrize(
    "pattern", [MACHINE_PATH, INDEX, SECRET, ELSEWHERE], ids=["machine paths", "package indexes", "secrets", "documents that are not here"]
)
def test_no_file_holds_what_does_not_belong_here(pattern):
    found = []
    for path in files():
        if path == SELF or path.suffix in {".png", ".jpg"}:
            continue
        text = path.read_text(encoding="utf-8")
        found += [f"{path.relative_to(ROOT)}: {match[0]}" for match in pattern.finditer(text)]
    assert found == []


def test_lock_files_name_no_address():
    for name in ("requirements.lock", "requirements-dev.lock", ".ci/bootstrap.lock"):
        assert "://" not in read(name), name


def test_every_locked_package_has_a_hash():
    for name in ("requirements.lock", "requirements-dev.lock", ".ci/bootstrap.lock"):
        entries = re.split(r"\n(?=[a-zA-Z0-9])", read(name))
        assert [entry.split()[0] for entry in entries if "==" in entry.split("\n")[0] and "--hash=sha256:" not in entry] == []


def test_every_ignore_explains_itself():
    bare = re.compile(r"#\s*(?:noqa(?::\s*[A-Z0-9]+(?:,\s*[A-Z0-9]+)*)?|type:\s*ignore(?:\[[\w, -]+\])?)\s*$", re.MULTILINE)
    assert [f"{path.relative_to(ROOT)}: {match[0]}" for path in modules() for match in bare.finditer(path.read_text(encoding="utf-8"))] == []


# --- documents -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(DOCUMENTS))
def test_generated_documents_are_up_to_date(name):
    assert read(name) == DOCUMENTS[name](), "run `make docs`"


def test_links_lead_to_files():
    broken = [
        f"{path.relative_to(ROOT)}: {target}"
        for path in files(".md")
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[\w-]*)?\)", path.read_text(encoding="utf-8"))
        if "://" not in target and not (path.parent / target).exists()
    ]
    assert broken == []


def words(section: str) -> set[str]:
    """The first column of a glossary table."""
    text = read("docs/glossary.md").split(f"\n## {section}\n")[1].split("\n## ")[0]
    return set(re.findall(r"^\| `?([\w.]+)`? \|", text, re.MULTILINE)) - {"word", "metric"}


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        ("Run states", set(RunStatus)),
        ("What a waiting run waits for", set(WaitingFor)),
        ("Step states", set(StepStatus)),
        ("Step kinds", set(StepKind)),
        ("Overlap", set(Overlap)),
        ("What became of a tick", set(TickOutcome)),
        ("Messages", set(MessageKind)),
        ("Run modes", {"live", "simulated"}),
        ("Deliveries", set(DeliveryState)),
        ("Verdicts", set(Verdict)),
    ],
)
def test_the_glossary_has_the_words_of_the_code(section, expected):
    assert words(section) == {str(word) for word in expected}


def test_run_modes_are_those_of_the_settings():
    assert set(Settings.model_fields["run_mode"].annotation.__args__) == words("Run modes")


def test_the_glossary_names_columns_that_exist():
    from runtime.store.tables import metadata

    columns = {column.name for table in metadata.tables.values() for column in table.columns} | set(metadata.tables)
    text = read("docs/glossary.md").split("\n## Things\n")[1].split("\n## ")[0]
    cells = [row.split("|")[4].strip().strip("`") for row in text.splitlines() if row.startswith("| ") and not row.startswith("| word")]
    assert {cell for cell in cells if cell} - columns == set()


def test_the_glossary_has_the_promised_metrics():
    from runtime.metrics import ACTIVE, SERIES

    assert words("Metrics") == {*SERIES, ACTIVE}


# --- dependencies and packaging --------------------------------------------------------------------------------------


def project() -> dict:
    return tomllib.loads(read("pyproject.toml"))


def plain(requirement: str) -> str:
    return re.split(r"[\[<>=!~; ]", requirement)[0].lower()


def documented(section: str) -> set[str]:
    text = read("docs/dependencies.md").split(f"\n## {section}\n")[1].split("\n## ")[0]
    return {name.lower() for name in re.findall(r"^\| `([\w.-]+)` \|", text, re.MULTILINE)}


def test_every_dependency_is_documented():
    declared = project()
    assert documented("At run time") == {plain(name) for name in declared["project"]["dependencies"]}
    assert documented("Optional") == {plain(name) for name in chain(*declared["project"]["optional-dependencies"].values())}
    assert documented("For development") == {plain(name) for name in declared["dependency-groups"]["dev"]}
    assert documented("To build") >= {plain(name) for name in declared["build-system"]["requires"]}


def test_every_dependency_is_locked():
    declared = project()
    locked = {match.lower() for match in re.findall(r"^([\w.-]+)==", read("requirements.lock"), re.MULTILINE)}
    dev = {match.lower() for match in re.findall(r"^([\w.-]+)==", read("requirements-dev.lock"), re.MULTILINE)}
    assert {plain(name) for name in declared["project"]["dependencies"]} <= locked
    assert {plain(name) for name in declared["dependency-groups"]["dev"]} | locked <= dev


def test_the_wheel_holds_the_product_alone(tmp_path):
    wheel = next(WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"]))
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"runtime", "actors", "serve_app.py"}
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert not any("__pycache__" in name or "/tests/" in name for name in names)


def test_no_other_distribution_overwrites_our_import_names():
    owners = packages_distributions()
    for name in ("runtime", "actors"):
        assert set(owners.get(name, ["agentic-workflows"])) == {"agentic-workflows"}, f"another distribution provides {name}"


def test_the_changelog_speaks_of_this_version():
    headings = re.findall(r"^## \[([^\]]+)\]", read("CHANGELOG.md"), re.MULTILINE)
    assert headings[0] == "Unreleased"
    assert project()["project"]["version"] in {"0.1.0", *headings}


# --- the Makefile ----------------------------------------------------------------------------------------------------


def test_make_help_shows_every_target():
    phony = set(re.search(r"^\.PHONY: (.+)$", read("Makefile"), re.MULTILINE)[1].split())
    shown = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert set(re.findall(r"^\s+\x1b\[1m([\w-]+)", shown, re.MULTILINE)) == phony


@pytest.mark.parametrize("name", [".ci/run", ".ci/install"])
def test_scripts_can_be_run(name):
    assert (ROOT / name).stat().st_mode & 0o111
    subprocess.run(["bash", "-n", str(ROOT / name)], check=True)
