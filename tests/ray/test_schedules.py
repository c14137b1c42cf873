"""Schedules on the cluster: the Supervisor fires them, and what came while it was dead is caught up."""

from datetime import datetime
from itertools import pairwise

import pytest

from tests.ray.conftest import Platform, until

pytestmark = pytest.mark.ray


def test_the_supervisor_fires_and_catches_up_after_its_death(platform: Platform) -> None:
    platform.api.put("/v1/workflows/beat", json={"name": "beat", "steps": {"only": {"set": {"x": 1}}}}).raise_for_status()
    schedule = {"workflow": "beat", "interval": "1s", "overlap": "allow_all"}
    platform.api.put("/v1/schedules/pulse", json=schedule).raise_for_status()

    def started() -> list[dict]:
        ticks = platform.api.get("/v1/schedules/pulse/ticks", params={"page_size": 1000}).json()["ticks"]
        return [tick for tick in ticks[::-1] if tick["outcome"] == "started"]

    until(lambda: len(started()) >= 3)
    (supervisor,) = platform.processes("ray::SupervisorActor")
    supervisor.kill()
    before = len(started())
    until(lambda: len(started()) >= before + 5, 60)
    platform.api.post("/v1/schedules/pulse:pause", json={}).raise_for_status()
    found = started()
    times = [datetime.fromisoformat(tick["tick"]).timestamp() for tick in found]
    assert [late - early for early, late in pairwise(times)] == [1] * (len(times) - 1)
    assert all(platform.ended(tick["run_id"])["status"] == "succeeded" for tick in found)
    runs = platform.api.get("/v1/runs", params={"schedule": "pulse", "page_size": 1000}).json()["runs"]
    assert sorted(run["run_id"] for run in runs) == sorted(tick["run_id"] for tick in found)
