"""The language reference says nothing that is not so."""

import json
import re
from pathlib import Path

import pytest

from runtime.definition.expressions import compile_expression
from runtime.definition.model import Step, StepKind
from runtime.definition.validation import Loaded, parse

TEXT = (Path(__file__).parents[3] / "docs" / "definitions.md").read_text()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", TEXT, re.DOTALL)
INPUTS = json.loads(re.search(r"With `inputs` = `(.*?)`:", TEXT)[1])
ROWS = re.findall(r"^\| `([^`]*)` \| `([^`]*)` \|$", TEXT, re.MULTILINE)


@pytest.mark.parametrize("source", [block for language, block in BLOCKS if language == "yaml"], ids=lambda source: source.split("\n", 1)[0])
def test_documents_are_valid(source):
    assert parse(source).hash


def test_the_python_example_builds():
    (source,) = [block for language, block in BLOCKS if language == "python"]
    found: dict = {}
    exec(source, found)
    assert isinstance(found["loaded"], Loaded)


@pytest.mark.parametrize(("source", "result"), ROWS, ids=[source for source, _ in ROWS])
def test_expressions_yield_what_is_said(source, result):
    scope = {f"inputs.{name}": value for name, value in INPUTS.items()}
    assert json.dumps(compile_expression(source).evaluate(scope)) == result


def test_every_kind_and_option_is_mentioned():
    kinds = {kind.value for kind in StepKind}
    for name in Step.model_fields:
        assert f"`{name}" in TEXT or name == "description"
    assert kinds <= set(re.findall(r"^\| `(\w+)` \|", TEXT, re.MULTILINE))
