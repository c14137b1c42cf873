"""Every example is a valid definition, and everything it names is there."""

import ast
from pathlib import Path

import pytest

from runtime.definition.validation import parse
from runtime.steps.functions import resolve
from tests.examples.conftest import EXAMPLES

FILES = sorted(path for path in EXAMPLES.glob("*/*.yaml") if not path.name.endswith(".test.yaml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_the_definition_is_valid_and_its_functions_may_be_called(path: Path):
    loaded = parse(path.read_text())
    for planned in loaded.plan.steps.values():
        if planned.step.python is not None:
            function = resolve(planned.step.python.function, ["examples"])
            function.check(planned.step.python.args)
        for tool in planned.step.agent.tools if planned.step.agent else ():
            resolve(tool, ["examples"])


def test_there_are_five_and_each_is_described():
    folders = {path.parent.name for path in FILES}
    assert len(folders) == 5
    text = (EXAMPLES.parent / "docs" / "examples.md").read_text()
    for folder in folders:
        assert f"examples/{folder}/workflow.yaml" in text


def test_examples_import_no_more_than_the_error_class_of_the_product():
    """They show what an author's own package looks like."""
    for path in EXAMPLES.glob("*/*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(("runtime", "actors")):
                assert node.module == "runtime.errors", path
            if isinstance(node, ast.Import):
                assert not any(alias.name.startswith(("runtime", "actors")) for alias in node.names), path


def test_the_texts_are_short_and_many():
    texts = [path.read_text() for path in (EXAMPLES / "data").glob("*.txt")]
    assert len(texts) >= 30
    assert all(150 <= len(text.split()) <= 300 for text in texts)
