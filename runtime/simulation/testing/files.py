"""Reading test files: every problem with its line and column, in the file itself or in a workflow it names."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from runtime.definition.expressions import ExpressionInvalid, compile_expression
from runtime.definition.findings import Findings
from runtime.definition.marks import Marks
from runtime.definition.names import RUN_FIELDS, STEP_FIELDS, Names
from runtime.definition.plan import Plan
from runtime.definition.pointers import join
from runtime.definition.schemas import schema_problem
from runtime.definition.validation import Loaded, parse
from runtime.definition.yaml import read
from runtime.errors import AgenticError, DefinitionInvalid, NotFound
from runtime.simulation.testing.document import Case, Document
from runtime.simulation.testing.names import SUFFIXES


@dataclass(frozen=True, slots=True)
class TestFile:
    """A test file that is known to be right. `sources` are the texts of its workflow and of those it starts."""

    __test__ = False
    path: Path
    marks: Marks
    document: Document
    loaded: Loaded
    sources: tuple[str, ...]

    @property
    def cases(self) -> list[Case]:
        return self.document.tests

    def place(self, pointer: str) -> tuple[int, int]:
        """Line and column of a value."""
        line, column = self.marks.value(pointer)
        return line or 1, column or 1


def discover(paths: Iterable[Path]) -> list[Path]:
    """Test files, in order: files as they are named, folders searched for `*.test.yaml`. Raises NotFound."""
    found: dict[Path, None] = {}
    for path in paths:
        if not path.exists():
            raise NotFound(f"there is no file {path}")
        found.update(dict.fromkeys(_within(path) if path.is_dir() else [path]))
    return list(found)


def _within(folder: Path) -> list[Path]:
    found = (path for suffix in SUFFIXES for path in folder.rglob(f"*{suffix}"))
    return sorted(path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts))


def load(path: Path) -> TestFile:
    """Read and check a test file. Raises DefinitionInvalid, also for a workflow with problems, whose file it then names; NotFound."""
    value, marks = read(_text(path))
    findings = Findings(marks)
    try:
        document = Document.model_validate(value)
    except ValidationError as error:
        for one in error.errors(include_url=False, include_input=False):
            findings.add(join("", *one["loc"]), one["msg"].removeprefix("Value error, "), at_key=one["type"] == "extra_forbidden")
        findings.raise_if_any()
        raise
    sources = tuple(_text(path.parent / name) for name in (document.workflow, *document.others))
    loaded = [_parsed(path.parent / name, source) for name, source in zip((document.workflow, *document.others), sources, strict=True)]
    for index, case in enumerate(document.tests):
        _check(case, f"/tests/{index}", loaded[0].plan, {one.definition.name: one.plan for one in loaded}, findings)
    names = [case.name for case in document.tests]
    for index, name in enumerate(names):
        if name in names[:index]:
            findings.add(f"/tests/{index}/name", "two tests of this file have this name")
    findings.raise_if_any()
    return TestFile(path, marks, document, loaded[0], sources)


def problems(path: Path, error: AgenticError) -> list[str]:
    """What is wrong with a test file, one `file:line:column: sentence` for each problem."""
    if not error.problems:
        return [f"{path}: {error}"]
    return [f"{path}:{one.line or 1}:{one.column or 1}: {one.detail}{f' ({one.pointer})' if one.pointer else ''}" for one in error.problems]


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise NotFound(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError:
        raise DefinitionInvalid(f"{path} is not UTF-8 text") from None


def _parsed(path: Path, source: str) -> Loaded:
    try:
        return parse(source)
    except DefinitionInvalid as error:
        raise DefinitionInvalid(f"{path}: {error}") from None


def _check(case: Case, pointer: str, plan: Plan, plans: dict[str, Plan], findings: Findings) -> None:
    """Names that are not there would make a test that cannot fail."""
    for place, name in _named_steps(case):
        if not _is_step(name, plan, {} if place[1] in {"ran", "skipped"} else plans):
            findings.add(join(pointer, *place), f"the workflow has no step '{name}'")
    if (case.cassette is None) == (case.mode == "replay"):
        findings.add(join(pointer, "cassette" if case.cassette else "mode"), "mode: replay and cassette go together")
    if case.expect.match is not None and (problem := schema_problem(case.expect.match, join(pointer, "expect", "match"))):
        findings.add(problem.pointer, problem.detail)
    names = names_of(plan)
    for index, source in enumerate(case.expect.that):
        try:
            compile_expression(source, names)
        except ExpressionInvalid as error:
            findings.add_within(join(pointer, "expect", "that", index), source, error.problems)


def _named_steps(case: Case) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Every step a test names, and where."""
    for field, names in (("model", case.model), ("http", case.http), ("python", case.python), ("approvals", case.approvals)):
        yield from (((field, name), name) for name in names)
    expect = case.expect
    yield from ((("expect", "calls", name), name) for name in expect.calls)
    for field, listed in (("ran", expect.ran), ("skipped", expect.skipped)):
        yield from ((("expect", field, index), name) for index, name in enumerate(listed))


def _is_step(name: str, plan: Plan, plans: dict[str, Plan]) -> bool:
    """Whether the workflow has this step, or the other one that is named before a slash."""
    workflow, slash, step = name.rpartition("/")
    owner = plans.get(workflow) if slash else plan
    return owner is not None and step in owner.steps


def names_of(plan: Plan) -> Names:
    """What a condition of a test may use."""
    inputs = {f"inputs.{name}": "dyn" for name in plan.definition.inputs}
    steps = {f"steps.{name}.{field}": kind for name in plan.steps for field, kind in STEP_FIELDS.items()}
    run = {f"run.{name}": kind for name, kind in RUN_FIELDS.items()}
    return Names({"inputs": "map", "outputs": "dyn", **inputs, **steps, **run})
