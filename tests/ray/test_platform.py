"""The whole platform on Ray, over HTTP: what a user sees, and what happens when processes are killed."""

import contextlib
import json
import os
import signal
import time

import psutil
import pytest

from tests.ray.conftest import Platform, lines, title_of, until

pytestmark = pytest.mark.ray
HERE = "tests.ray.functions"


def python(function: str, **args: object) -> dict:
    return {"python": {"function": f"{HERE}:{function}", "args": args}}


def test_a_run_over_http_from_start_to_metrics(platform: Platform) -> None:
    definition = {
        "name": "numbers",
        "inputs": {"numbers": {"type": "array"}},
        "steps": {
            "double": {**python("double", value="${{ item }}"), "map": {"over": "inputs.numbers"}},
            "total": {"set": {"count": "${{ size(steps.double.output) }}"}},
        },
        "outputs": {"doubled": "steps.double.output", "count": "steps.total.output.count"},
    }
    run_id = platform.start(definition, {"numbers": list(range(700))})
    with platform.api.stream("GET", f"/v1/runs/{run_id}/events", headers={"Accept": "text/event-stream"}) as stream:
        names = [line.removeprefix("event: ") for line in stream.iter_lines() if line.startswith("event: ")]
    run = platform.ended(run_id)
    assert run["status"] == "succeeded", run
    assert run["output"] == {"doubled": [2 * number for number in range(700)], "count": 700}
    assert names[0] == "run.created"
    assert names[-1] == "run.succeeded"
    wanted = 'workflow_runs_total{run_mode="simulated",status="succeeded",workflow_id="numbers"} 1.0'
    until(lambda: wanted in platform.api.get("/metrics").text)


def listening_outside(platform: Platform) -> set[tuple[str, str]]:
    """(address, program) of everything of this platform that can be reached from other machines."""
    outside: set[tuple[str, str]] = set()
    for process in platform.processes(""):
        with contextlib.suppress(psutil.NoSuchProcess):  # a step's process may end while it is looked at
            title = (title_of(process).split() or ["unknown"])[0]
            addresses = {connection.laddr.ip for connection in process.net_connections("tcp") if connection.status == "LISTEN"}
            outside |= {(address, title.rsplit("/", 1)[-1].split(":")[0]) for address in addresses - {"127.0.0.1", "::ffff:127.0.0.1"}}
    return outside


def test_ray_listens_on_the_loopback_device_and_asks_for_its_token(platform: Platform) -> None:
    # HAProxy's counters and Serve's internal gRPC server cannot be bound to one device (docs/operations.md). A process that is just
    # being started has not got its title yet, hence the patience.
    until(lambda: {title for _, title in listening_outside(platform)} <= {"haproxy", "ray"}, 10)
    unknown = {"Authorization": "Bearer wrong"}
    assert platform.dashboard.get("/api/v0/actors", headers=unknown).status_code in {401, 403}


def test_names_in_the_state_api(platform: Platform, tmp_path) -> None:
    flag, file = tmp_path / "flag", tmp_path / "file"
    run_id = platform.start({"name": "named", "steps": {"wait_here": python("until", file=str(file), flag=str(flag))}})
    until(lambda: lines(file))
    names = {actor["name"].rpartition("-")[0] or actor["name"] for actor in platform.actors()}
    assert {"supervisor", "workflow", "agent"} <= names
    until(lambda: [task["state"] for task in _task(platform, "named/wait_here")] == ["RUNNING"])
    flag.touch()
    assert platform.ended(run_id)["status"] == "succeeded"


def _task(platform: Platform, name: str) -> list[dict]:
    found = platform.dashboard.get("/api/v0/tasks", params={"filter_keys": "name", "filter_predicates": "=", "filter_values": name, "detail": "true"})
    return found.json()["data"]["result"]["result"]


def test_kill_of_the_workflow_actor_while_a_step_is_in_flight(platform: Platform, tmp_path) -> None:
    """The next owner takes the run over and keeps what is finished: it is not executed again."""
    flag, first, second = tmp_path / "flag", tmp_path / "first", tmp_path / "second"
    steps = {
        "first": python("note", file=str(first)),
        "second": {**python("until", file=str(second), flag=str(flag)), "needs": ["first"]},
        "third": {**python("note", file=str(first), text="third"), "needs": ["second"]},
    }
    run_id = platform.start({"name": "taken-over", "steps": steps})
    until(lambda: lines(second))
    owner = platform.processes("ray::WorkflowActor")
    assert len(owner) == 1
    os.kill(owner[0].pid, signal.SIGKILL)
    killed = time.monotonic()
    claims = until(lambda: [event for event in platform.events(run_id) if event["event"] == "run.claimed"][1:], 15)
    print(f"taken over {time.monotonic() - killed:.2f} s after kill -9")
    assert len(claims) == 1
    flag.touch()
    run = platform.ended(run_id)
    assert run["status"] == "succeeded", run
    assert lines(first) == ["done", "third"]
    assert 1 <= len(lines(second)) <= 2  # in flight at that moment: joined, or begun again when its AgentActor did not say in time that it holds it


def test_kill_of_the_agent_actor_while_a_step_is_in_flight(platform: Platform, tmp_path) -> None:
    """Its steps are lost; the owner notices and tries them again in the actor that takes its place."""
    flag, file = tmp_path / "flag", tmp_path / "file"
    step = {**python("until", file=str(file), flag=str(flag)), "retry": {"max_attempts": 3, "initial": 0.1}}
    run_id = platform.start({"name": "agent-lost", "steps": {"step": step}})
    first = int(until(lambda: lines(file))[0])
    os.kill(first, signal.SIGKILL)
    flag.touch()
    run = platform.ended(run_id)
    assert run["status"] == "succeeded", run
    assert [int(line) == first for line in lines(file)] == [True, False]
    assert [event["attempt"] for event in platform.events(run_id) if event["event"] == "step.started"] == [1, 2]


def test_a_dedicated_run_has_an_actor_of_its_own(platform: Platform, tmp_path) -> None:
    flag, file = tmp_path / "flag", tmp_path / "file"
    definition = {"name": "alone", "isolation": "dedicated", "steps": {"step": python("until", file=str(file), flag=str(flag))}}
    run_id = platform.start(definition)
    until(lambda: lines(file))
    assert f"dedicated-{run_id}" in {actor["name"] for actor in platform.actors()}
    flag.touch()
    assert platform.ended(run_id)["status"] == "succeeded"
    until(lambda: f"dedicated-{run_id}" not in {actor["name"] for actor in platform.actors()})


def test_an_isolated_step_runs_in_a_process_of_its_own(platform: Platform) -> None:
    step = {**python("process", value="${{ item }}"), "map": {"over": "[1, 2]"}, "resources": {"num_cpus": 0.5}}
    run_id = platform.start({"name": "isolated", "steps": {"shared": python("process"), "step": step}})
    run = platform.ended(run_id)
    assert run["status"] == "succeeded", run
    assert [found["value"] for found in run["output"]["step"]] == [1, 2]
    assert run["output"]["shared"]["pid"] not in {found["pid"] for found in run["output"]["step"]}


def test_an_isolated_step_that_nobody_has_room_for_fails_in_time(platform: Platform) -> None:
    step = {**python("process"), "resources": {"num_cpus": 64, "start_within": 1}, "retry": {"max_attempts": 1}}
    run = platform.ended(platform.start({"name": "too-large", "steps": {"step": step}}))
    assert run["status"] == "failed"
    assert run["error"]["code"] == "no_resources", run["error"]


def test_cancel_kills_a_blocked_isolated_step(platform: Platform, tmp_path) -> None:
    file = tmp_path / "file"
    step = {**python("blocked", file=str(file)), "resources": {"num_cpus": 0.1}}
    run_id = platform.start({"name": "blocked", "steps": {"step": step}})
    pid = int(until(lambda: lines(file))[0])
    assert platform.api.post(f"/v1/runs/{run_id}:cancel").status_code == 202
    assert platform.ended(run_id)["status"] == "canceled"
    until(lambda: pid not in {process.pid for process in platform.processes("ray::")})


def test_a_timeout_kills_a_blocked_isolated_step(platform: Platform, tmp_path) -> None:
    file = tmp_path / "file"
    step = {**python("blocked", file=str(file)), "resources": {"num_cpus": 0.1}, "timeout": 0.3, "retry": {"max_attempts": 1}}
    run = platform.ended(platform.start({"name": "too-slow", "steps": {"step": step}}))
    assert run["error"]["code"] == "timeout", run
    pid = int(lines(file)[0])
    until(lambda: pid not in {process.pid for process in platform.processes("ray::")})


def test_a_batch_job_starts_each_line_once(platform: Platform, tmp_path) -> None:
    platform.ended(
        platform.start(
            {"name": "batched", "inputs": {"value": {"type": "integer"}}, "steps": {"step": python("double", value="${{ inputs.value }}")}}, {"value": 1}
        )
    )
    file = tmp_path / "lines.jsonl"
    file.write_text("".join(json.dumps({"workflow": "batched", "inputs": {"value": value}, "labels": {"batch": "one"}}) + "\n" for value in range(20)))
    for submission in ("first", "second"):
        assert [row["status"] for row in _batch(platform, submission, f"{file} --json --submission-id numbers")] == ["succeeded"] * 20
    runs = platform.api.get("/v1/runs", params={"workflow": "batched", "label": "batch=one", "page_size": 100}).json()["runs"]
    assert len(runs) == 20


def _batch(platform: Platform, submission: str, arguments: str) -> list[dict]:
    """The lines a batch job writes, once it has succeeded."""
    body = {"entrypoint": f"python -m actors.batch {arguments}", "submission_id": submission}
    submitted = platform.dashboard.post("/api/jobs/", json=body)
    assert submitted.status_code == 200, submitted.text
    job = until(lambda: (job := platform.dashboard.get(f"/api/jobs/{submission}").json())["status"] in {"SUCCEEDED", "FAILED"} and job, 45)
    logs = platform.dashboard.get(f"/api/jobs/{submission}/logs").json()["logs"]
    assert job["status"] == "SUCCEEDED", logs
    return [json.loads(line) for line in logs.splitlines() if line.startswith("{")]
