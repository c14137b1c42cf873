"""pytest collects `*.test.yaml` and runs each test in it. Loaded in every pytest session of an installation, so it imports nothing at the top but pytest."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from runtime.simulation.testing.document import Case
    from runtime.simulation.testing.files import TestFile


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Take the files that are tests of workflows."""
    from runtime.simulation.testing.names import SUFFIXES

    return WorkflowFile.from_parent(parent, path=file_path) if file_path.name.endswith(SUFFIXES) else None


class WorkflowTestFailed(Exception):
    """A test of a workflow failed; the text says where and how."""


class WorkflowFile(pytest.File):
    """One test file."""

    def collect(self) -> Iterator[pytest.Item]:
        from runtime.errors import AgenticError
        from runtime.simulation.testing.files import load, problems

        try:
            file = load(self.path)
        except AgenticError as error:
            raise self.CollectError("\n".join(problems(self.path, error))) from None
        for case in file.cases:
            yield WorkflowTest.from_parent(self, name=case.name, file=file, case=case)


class WorkflowTest(pytest.Item):
    """One test."""

    def __init__(self, *, file: "TestFile", case: "Case", **options: Any) -> None:
        super().__init__(**options)
        self._file, self._case = file, case

    def runtest(self) -> None:
        from runtime.settings import Settings
        from runtime.simulation.testing.runner import run_case

        result = asyncio.run(run_case(self._file, self._case, Settings()))
        if not result.passed:
            raise WorkflowTestFailed("\n".join(result.told()))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """The failures alone: a stack of this plugin helps nobody."""
        return str(excinfo.value) if isinstance(excinfo.value, WorkflowTestFailed) else super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int, str]:
        line, _ = self._file.place(f"/tests/{self._file.cases.index(self._case)}")
        return self.path, line - 1, self.name
