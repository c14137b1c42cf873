"""SIGTERM hands over at once and loses nothing; a step that kills processes ends alone while its neighbours go on."""

import os
import signal
import time
from pathlib import Path

import pytest

from tests.ray.conftest import Platform, lines, until

pytestmark = [pytest.mark.ray, pytest.mark.timeout(180)]
HERE = "tests.ray.functions"


def waiting_step(file: Path, flag: Path, **more: object) -> dict[str, object]:
    return {"python": {"function": f"{HERE}:until", "args": {"file": str(file), "flag": str(flag)}}, **more}


def claims(platform: Platform, run_id: str) -> list[str]:
    return [event["body"]["owner"] for event in platform.events(run_id) if event["event"] == "run.claimed"]


def test_an_owner_that_is_told_to_leave_hands_over_what_stays_in_flight(platform: Platform, tmp_path: Path) -> None:
    file, flag = tmp_path / "executions", tmp_path / "flag"
    run_id = platform.start({"name": "hand-over", "steps": {"a": waiting_step(file, flag)}, "outputs": {"pid": "steps.a.output"}})
    until(lambda: lines(file))
    (owner,) = platform.processes("ray::WorkflowActor")
    told = time.monotonic()
    os.kill(owner.pid, signal.SIGTERM)
    until(lambda: len(claims(platform, run_id)) == 2, 30)
    print(f"handed over {time.monotonic() - told:.2f} s after SIGTERM")
    flag.touch()
    run = platform.ended(run_id, 30)
    assert run["status"] == "succeeded"
    assert len(lines(file)) == 1, "the next owner joins what is in flight"
    until(lambda: not owner.is_running() or owner.status() == "zombie", 30)


def test_an_executor_that_is_told_to_leave_finishes_its_steps(platform: Platform, tmp_path: Path) -> None:
    file, flag = tmp_path / "executions", tmp_path / "flag"
    run_id = platform.start({"name": "last-steps", "steps": {"a": waiting_step(file, flag, retry={"max_attempts": 1})}})
    (pid,) = until(lambda: lines(file))
    os.kill(int(pid), signal.SIGTERM)
    until(lambda: all(agent.pid != int(pid) for agent in platform.processes("ray::AgentActor")[1:]) and len(platform.processes("ray::AgentActor")) >= 1)
    flag.touch()
    assert platform.ended(run_id, 30)["status"] == "succeeded"
    assert len(lines(file)) == 1


def test_a_step_that_kills_processes_ends_as_poison_and_its_neighbours_succeed(platform: Platform, tmp_path: Path) -> None:
    deaths, file, flag = tmp_path / "deaths", tmp_path / "neighbours", tmp_path / "flag"
    healthy = {f"n{number}": waiting_step(file, flag, retry={"max_attempts": 1}) for number in range(5)}
    neighbours = platform.start({"name": "neighbours", "steps": healthy})
    until(lambda: len(lines(file)) == 5)
    run_id = platform.start({"name": "poison", "steps": {"p": {"python": {"function": f"{HERE}:fatal", "args": {"file": str(deaths)}}}}})
    run = platform.ended(run_id, 120)
    assert (run["status"], run["error"]["code"]) == ("failed", "poison")
    assert len(set(lines(deaths))) == 5, "five processes, and no sixth"
    flag.touch()
    ended = platform.ended(neighbours, 60)
    assert ended["status"] == "succeeded", [event for event in platform.events(neighbours) if "error" in (event["body"] or {})]
