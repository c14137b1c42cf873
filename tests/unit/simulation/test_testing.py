"""Tests of workflows: what they check, where they say it went wrong, and that they can fail."""

import textwrap
import time
from pathlib import Path
from xml.etree import ElementTree

import pytest

from runtime.errors import AgenticError, DefinitionInvalid, NotFound
from runtime.simulation.testing.files import discover, load, problems
from runtime.simulation.testing.junit import write_junit
from runtime.simulation.testing.runner import run_case
from tests.unit.simulation.plays import FUNCTIONS, SETTINGS

WORKFLOW = f"""\
name: sums
inputs: {{n: {{type: integer, default: 2}}}}
steps:
  double: {{python: {{function: "{FUNCTIONS}:double", args: {{number: "${{{{ inputs.n }}}}"}}}}}}
  big: {{set: {{big: true}}, when: steps.double.output > 100}}
  nap: {{wait: {{for: 1h}}}}
outputs: {{twice: steps.double.output, text: '"x" + string(steps.double.output)'}}
"""


@pytest.fixture
def written(tmp_path: Path):
    """Writes a test file with these tests beside the workflow."""
    (tmp_path / "flow.yaml").write_text(WORKFLOW)

    def write(tests: str, name: str = "flow.test.yaml", head: str = "workflow: flow.yaml\n") -> Path:
        path = tmp_path / name
        path.write_text(head + "tests:\n" + textwrap.indent(textwrap.dedent(tests), "  "))
        return path

    return write


async def results(path: Path):
    file = load(path)
    return [await run_case(file, case, SETTINGS) for case in file.cases]


async def test_everything_that_can_be_said_and_is_so(written):
    path = written("""\
        - name: all
          inputs: {n: 3}
          expect:
            status: succeeded
            outputs: {twice: 6}
            that: ["steps.double.output == 6 && inputs.n == 3", 'outputs.text == "x6"', 'run.status == "succeeded"', 'steps.big.status == "skipped"']
            ran: [double, nap]
            skipped: [big]
            calls: {double: 1}
            match: {type: object, required: [twice, text]}
            took: 1h
        """)
    (result,) = await results(path)
    assert list(result.told()) == []
    assert result.steps == {"double": "succeeded", "big": "skipped", "nap": "succeeded"}
    assert result.seconds > 0


@pytest.mark.parametrize(
    ("expect", "place", "message", "diff"),
    [
        ("outputs: {twice: 5}", "5:24", "output 'twice' differs", ("-5", "+4")),
        ("outputs: {thrice: 5}", "5:25", "there is no output 'thrice'; there are: twice, text", ()),
        ('that: ["true", "steps.double.output > 4"]', "5:22", "this is not so: steps.double.output > 4", ('    "steps.double.output": 4',)),
        ("that: [steps.big.output.big]", "5:14", "steps.big.output.big: steps.big.output is null, so it has no field 'big'", ()),
        ("ran: [double, big]", "5:21", "step big was skipped (its condition is not true)", ()),
        ("skipped: [double]", "5:17", "step double was succeeded", ()),
        ("calls: {double: 2}", "5:23", "step double made other calls", ("-2", "+1")),
        ("calls: {double: {attempts: 2}}", "5:23", "step double made other calls", ('-  "attempts": 2', '+  "attempts": 1')),
        ("match: {required: [nothing]}", "5:14", 'outputs: "nothing" is a required property', ()),
        ("took: 2h", "5:13", "the run took another time", ("-7200000 ms", "+3600000 ms")),
        ("status: failed", "5:15", "the run succeeded", ("-failed", "+succeeded")),
        ("error: no_case", "3:5", "the run succeeded", ("-failed", "+succeeded")),
    ],
)
async def test_what_is_not_so_is_told_with_its_place(written, expect, place, message, diff):
    path = written(f"- name: one\n  expect:\n    {expect}\n")
    (result,) = await results(path)
    head, *lines = result.told()
    assert head.startswith(f"{path}:{place}: one: {message}")
    for part in diff:
        assert any(part in shown for shown in lines), lines


async def test_how_a_run_failed(written):
    script = "python: {double: [{fail: tired, message: so tired, retryable: false}]}"
    path = written(f"""\
        - name: as wanted
          {script}
          expect: {{error: {{code: tired, step: double, message: so}}}}
        - name: another code
          {script}
          expect: {{error: awake}}
        - name: it should not have
          {script}
        """)
    good, other, bad = await results(path)
    assert good.passed
    assert [failure.message for failure in other.failures] == ["the run failed with another code"]
    assert [failure.message for failure in bad.failures] == ["the run failed in step double: tired: so tired"]


async def test_what_was_prepared_and_not_asked_for_fails_a_test(written):
    path = written("- name: one\n  python: {double: [1, 2]}\n")
    (result,) = await results(path)
    assert [failure.message for failure in result.failures] == ["1 answers of function of step double were not asked for"]


async def test_a_run_that_cannot_start_and_one_that_never_ends(written, tmp_path):
    (tmp_path / "ask.yaml").write_text("name: ask\nsteps: {review: {approval: {message: Well?}}}\n")
    (refused,) = await results(written("- name: one\n  inputs: {n: text}\n"))
    (stuck,) = await results(written("- name: one\n", "ask.test.yaml", "workflow: ask.yaml\n"))
    assert "input_invalid" in refused.failures[0].message
    assert stuck.failures[0].message == "stuck: the run waits for the approval of step review, which nobody gives"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("- name: one\n  expect: {ran: [doubel]}\n", "4:20: the workflow has no step 'doubel'"),
        ("- name: one\n  model: {sum: [x]}\n", "4:18: the workflow has no step 'sum'"),
        ("- name: one\n  model: {double: x}\n", "4:21: write a list of answers"),
        ("- name: one\n  expects: {}\n", "4:5: Extra inputs are not permitted"),
        ("- name: one\n  mode: replay\n", "4:11: mode: replay and cassette go together"),
        ("- name: one\n  cassette: x.yaml\n", "4:15: mode: replay and cassette go together"),
        ("- name: one\n  approvals: {double: perhaps}\n", "4:25: write approve, reject"),
        ("- name: one\n  start: yesterday\n", "4:12: write a time"),
        ("- name: one\n  expect: {took: soon}\n", "4:20: 'soon' is not a duration"),
        ("- name: one\n  expect: {that: ['steps.doubel.output == 1']}\n", "4:22: there is no step 'doubel'"),
        ("- name: one\n  expect: {that: ['1 +']}\n", "4:2"),
        ("- name: one\n  expect: {match: {type: 7}}\n", "4:"),
        ("- name: one\n  expect: {calls: {double: many}}\n", "4:30: write how many calls"),
        ("- name: one\n- name: one\n", "4:11: two tests of this file have this name"),
        ("- inputs: {}\n", "3:5: Field required"),
    ],
)
def test_files_with_problems(written, text, expected):
    path = written(text)
    with pytest.raises(DefinitionInvalid) as caught:
        load(path)
    assert problems(path, caught.value)[0].startswith(f"{path}:{expected}"), problems(path, caught.value)


def test_files_that_cannot_be_read(written, tmp_path):
    path = written("- name: one\n", head="workflow: missing.yaml\n")
    with pytest.raises(NotFound, match=r"missing\.yaml"):
        load(path)
    (tmp_path / "broken.yaml").write_text("name: x\nsteps: {}\n")
    path = written("- name: one\n", head="workflow: broken.yaml\n")
    with pytest.raises(DefinitionInvalid, match=r"broken\.yaml: line 2"):
        load(path)


def test_files_are_found_in_order_and_hidden_folders_left_out(tmp_path):
    for name in ("b.test.yaml", "a/x.test.yml", "a/flow.yaml", ".venv/lib/y.test.yaml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    assert [str(path.relative_to(tmp_path)) for path in discover([tmp_path])] == ["a/x.test.yml", "b.test.yaml"]
    assert discover([tmp_path / "a" / "flow.yaml"]) == [tmp_path / "a" / "flow.yaml"], "a file that is named is taken"
    with pytest.raises(NotFound):
        discover([tmp_path / "missing"])


async def test_ten_steps_take_a_fraction_of_a_second(written, tmp_path):
    steps = "".join(f'  s{n}: {{http: {{url: "https://x.invalid/{n}"}}, needs: [{f"s{n - 1}" if n else ""}]}}\n' for n in range(10))
    (tmp_path / "ten.yaml").write_text(f"name: ten\nsteps:\n{steps}")
    path = written("- name: first\n- name: again\n", "ten.test.yaml", "workflow: ten.yaml\n")
    file = load(path)
    assert (await run_case(file, file.cases[0], SETTINGS)).passed, "imports, and the empty database that the others copy"
    began = time.process_time()
    assert (await run_case(file, file.cases[1], SETTINGS)).passed
    assert time.process_time() - began < 0.7, "CPU time, because a busy machine makes every clock slow; it is 0.1 s"


async def test_results_as_junit(written, tmp_path):
    path = written("- name: good\n- name: bad\n  expect: {outputs: {twice: 5}}\n")
    write_junit(tmp_path / "j.xml", await results(path), {Path("x.test.yaml"): ["x.test.yaml:1:1: bad \x00 thing"]})
    root = ElementTree.parse(tmp_path / "j.xml").getroot()
    first, second = root.findall("testsuite")
    assert (first.get("tests"), first.get("failures"), second.get("errors")) == ("2", "1", "1")
    good, bad = first.findall("testcase")
    assert good.find("failure") is None
    assert "+4" in bad.find("failure").text
    assert second.find("testcase/error").get("message") == "x.test.yaml:1:1: bad \ufffd thing"


def test_an_error_without_places_names_the_file():
    assert problems(Path("f"), AgenticError("no")) == ["f: no"]
