"""Fail points: nothing without the variable; with it a ticket is taken once, by one process, and what was done is written down."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from runtime import failpoints

REACH = "from runtime import failpoints as f; f.reach('turn.before', 'a'); print('went on')"


def run(folder: Path | None, code: str = REACH) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != failpoints.VARIABLE}
    if folder is not None:
        environment[failpoints.VARIABLE] = str(folder)
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False, timeout=30)


def ticket(folder: Path, action: str, **more: object) -> Path:
    path = folder / "turn.before~1"
    path.write_text(json.dumps({"action": action, **more}))
    return path


def lines(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def test_without_the_variable_nothing_happens(tmp_path: Path):
    path = ticket(tmp_path, "kill")
    assert run(None).stdout == "went on\n"
    assert path.exists()


def test_a_ticket_kills_once_and_is_written_down(tmp_path: Path):
    path = ticket(tmp_path, "kill")
    assert run(tmp_path).returncode == -signal.SIGKILL
    assert not path.exists()
    assert run(tmp_path).stdout == "went on\n"
    assert [(line["point"], line["action"]) for line in lines(tmp_path)] == [("turn.before", "kill")]


def test_a_ticket_with_a_key_waits_for_it_and_one_that_is_kept_stays(tmp_path: Path):
    path = ticket(tmp_path, "kill", key="b")
    assert run(tmp_path).stdout == "went on\n"
    assert path.exists()
    ticket(tmp_path, "kill", key="a", keep=True)
    assert [run(tmp_path).returncode for _ in range(2)] == [-signal.SIGKILL] * 2
    assert path.exists()


def test_a_paused_process_goes_on_by_itself(tmp_path: Path):
    ticket(tmp_path, "pause", seconds=0.5)
    begun = time.monotonic()
    assert run(tmp_path).stdout == "went on\n"
    assert time.monotonic() - begun >= 0.5


@pytest.mark.parametrize(("action", "error"), [("error", "StoreUnavailable"), ("drop-answer", "AnswerLost")])
def test_a_call_may_fail_or_lose_its_answer(tmp_path: Path, action: str, error: str):
    ticket(tmp_path, action)
    assert error in run(tmp_path).stderr.splitlines()[-1]


def test_a_fence_is_out_while_its_file_is_there(tmp_path: Path):
    code = "from runtime import failpoints as f; print(f.without('epoch'), f.without('head'))"
    (tmp_path / "fence.epoch").touch()
    assert run(tmp_path, code).stdout == "True False\n"
    assert run(None, code).stdout == "False False\n"
