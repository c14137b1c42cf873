"""Workflows with code steps from end to end, in one process: the page about them says nothing that is not so."""

import re
from pathlib import Path
from typing import Any

from runtime.gateway import StartRequest
from runtime.local import LocalPlatform
from runtime.sandbox.pool import Printed, Sandbox
from runtime.sandbox.program import Program
from runtime.settings import Settings

TEXT = (Path(__file__).parents[3] / "docs" / "code.md").read_text()
(EXAMPLE,) = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)

OPTIONS = """
name: options
inputs: {count: {type: integer}}
steps:
  numbers: {code: {source: "return list(range(count))", inputs: {count: "${{ inputs.count }}"}}}
  doubled:
    code: {source: "return n * 2", inputs: {n: "${{ item }}"}}
    map: {over: steps.numbers.output}
  halved:
    code: {source: "return (n if n is not None else 64) // 2", inputs: {n: "${{ previous }}"}}
    loop: {until: output < 5}
  never: {code: {source: "return 1 / 0"}, when: inputs.count < 0}
  broken: {code: {source: "return 1 / 0"}, on_error: continue}
outputs: {doubled: steps.doubled.output, halved: steps.halved.output, never: steps.never.output, error: steps.broken.error.code}
"""


async def run(tmp_path: Path, source: str, inputs: dict[str, Any], mode: str = "live") -> Any:
    async with LocalPlatform(Settings(home=tmp_path, code_steps=True)) as platform:
        workflow = (await platform.gateway.publish("default", source)).workflow
        started = (await platform.gateway.start("default", StartRequest(workflow, inputs, mode=mode))).run
        row = await platform.gateway.wait("default", started.run_id, 50)
        assert row.status == "succeeded", row.error
        return await platform.gateway.shown(row.result)


async def test_the_example(tmp_path):
    notes = [{"title": "a", "score": 0.6}, {"title": "b", "score": 0.9}, {"title": "c", "score": 0.1}]
    assert await run(tmp_path, EXAMPLE, {"notes": notes}, mode="simulated") == {"titles": ["b", "a"], "mean": 0.75}


async def test_map_loop_when_and_on_error(tmp_path):
    expected = {"doubled": [n * 2 for n in range(300)], "halved": 4, "never": None, "error": "code_error"}
    assert await run(tmp_path, OPTIONS, {"count": 300}) == expected


def test_every_code_of_an_error_is_on_the_page():
    raised = {
        code
        for name in ("sandbox/pool.py", "sandbox/program.py", "steps/code.py")
        for code in re.findall(r'StepFailed\(\s*"(\w+)"', (Path(__file__).parents[3] / "runtime" / name).read_text())
    }
    rows = set(re.findall(r"`(\w+)`", TEXT.split("## When it fails")[1].split("\n## ")[0]))
    assert raised <= rows


async def test_the_modules_named_there_exist():
    (modules,) = re.findall(r"and the modules `([\w ]+)`", TEXT)
    assert len(modules.split()) > 5
    sandbox = Sandbox(1)
    try:
        assert await sandbox.run(Program(f"import {', '.join(modules.split())}\nreturn 1", "{}"), Printed()) == "1"
    finally:
        await sandbox.close()
