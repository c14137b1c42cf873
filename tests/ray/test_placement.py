"""What needs no cluster: where calls go, how large the pools become, what a batch file may say."""

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from actors import wire
from actors.batch import read, submission_id
from actors.capacity import agent_bounds, agents_needed, workflow_bounds, workflows_needed
from actors.executor import AGENT_BLOCK, BLOCK, blocks, singly
from actors.fleet import TOGETHER, UNEVEN, Fleet
from actors.resources import ray_options
from runtime.definition.model import Resources
from runtime.errors import RequestInvalid
from runtime.settings import Settings
from runtime.steps.protocol import Item, StepCall, StepResult

GIB = 2**30


def call(run_id: str = "run", items: int | None = None, start: int = 0, kind: str = "python") -> StepCall:
    found = None if items is None else tuple(Item(index, 1, None) for index in range(start, start + items))
    return StepCall(run_id, 1, "work", "hash", "step", kind, {}, {}, 1, items=found)


def fleet(size: int, limit: int = 10_000) -> Fleet:
    made = Fleet(limit)
    made.update(f"agent-{number}" for number in range(size))
    return made


def test_the_same_step_goes_to_the_same_actor_also_from_the_next_owner() -> None:
    keys = [f"run-{number}" for number in range(50)]
    first, second = fleet(4), fleet(4)
    assert [first.place(key, 1).name for key in keys] == [second.place(key, 1).name for key in keys]


def test_no_actor_gets_much_more_than_its_share() -> None:
    crowd = fleet(4)
    placed = Counter(crowd.place(f"run-{number}", 1).name for number in range(10_000))
    assert max(placed.values()) <= UNEVEN * 10_000 / 4 + 1


def test_few_calls_stay_together() -> None:
    crowd = fleet(4)
    assert len({crowd.place("run", 1).name for _ in range(TOGETHER)}) == 1


def test_one_key_alone_overflows_to_the_others() -> None:
    crowd = fleet(4)
    placed = Counter(crowd.place("run", 1).name for _ in range(4_000))
    assert len(placed) == 4


def test_what_has_ended_makes_room() -> None:
    crowd = fleet(2)
    agent = crowd.place("run", 500)
    crowd.done(agent, 500)
    assert crowd.place("run", 1) is agent


async def test_calls_wait_for_a_place_and_for_an_actor() -> None:
    crowd = fleet(1, limit=2)
    agent = crowd.place("a", 2)
    waiting = asyncio.create_task(crowd.ready(0.01))
    await asyncio.sleep(0)
    assert not waiting.done()
    crowd.done(agent, 1)
    assert await waiting
    assert not await Fleet(2).ready(0.01)


def test_a_large_map_is_cut_at_fixed_places() -> None:
    assert [len(items) for _, items in blocks(call(items=1000))] == [BLOCK, BLOCK, BLOCK, 1000 - 3 * BLOCK]
    whole = dict(blocks(call(items=1000)))
    rest = dict(blocks(call(items=100, start=BLOCK + 10)))
    assert set(rest) < set(whole), "what is asked for again goes where it went before"
    assert blocks(call()) == [("run", ())]


@pytest.mark.parametrize("size", [2, 4])
def test_agent_steps_of_a_map_are_spread(size: int) -> None:
    """All actors have work from the first items on, and go on having it while places become free one by one."""
    crowd = fleet(size)
    items = call(items=200, kind="agent")
    assert {len(part) for _, part in blocks(items)} == {AGENT_BLOCK}
    placed = Counter[str]()
    for key, part in blocks(items):
        placed[crowd.place(key, len(part)).name] += len(part)
    assert max(placed.values()) <= max(TOGETHER, UNEVEN * 200 / size + AGENT_BLOCK)
    assert len(placed) == size


def test_few_items_go_out_one_by_one() -> None:
    """A request brings all of its results at once, and none may wait for another."""
    assert [(one.step, one.items and [item.index for item in one.items]) for one in singly([call(items=2, start=7), call()])] == [
        ("step", [7]),
        ("step", [8]),
        ("step", None),
    ]


def test_calls_and_results_survive_the_way() -> None:
    calls = [call(items=3), call()]
    assert wire.calls(wire.encode(calls)) == calls
    results = [StepResult("run", 1, "step", 1, index=2, output={"a": [1, None]}, error=None)]
    assert wire.results(wire.encode(results)) == results


def test_pools_are_bounded_by_memory_and_cores() -> None:
    settings = Settings(workflow_actors_min=2)
    assert workflow_bounds(settings, 0.1 * GIB).least == workflow_bounds(settings, 0.1 * GIB).most == 2
    assert workflow_bounds(settings, 24 * GIB).most == 55
    assert agent_bounds(settings, 24 * GIB, 2).most == 4
    assert agent_bounds(Settings(agent_actors_max=1), 24 * GIB, 64).most == 1


@pytest.mark.parametrize(
    ("loads", "active", "needed"),
    [([], 0, 1), ([10], 10, 1), ([899], 950, 1), ([1000], 5000, 5), ([1000, 0], 5000, 2), ([300, 300], 600, 1), ([950, 950], 1900, 3)],
)
def test_workflow_actors_follow_the_load(loads: list[int], active: int, needed: int) -> None:
    assert workflows_needed(loads, 1000, active) == needed


@pytest.mark.parametrize(
    ("loads", "busy", "needed"),
    [
        ([], [], 1),
        ([100], [0.2], 1),
        ([9_100], [0.2], 2),
        ([100], [0.95], 2),
        ([100, 100], [0.95, 0.95], 2),
        ([100, 100], [0.95, 0.1], 2),
        ([100], [0.45], 1),
        ([100], [0.55], 2),
        ([100, 100], [0.4, 0.3], 2),
        ([100, 100], [0.2, 0.2], 1),
    ],
)
def test_agent_actors_follow_load_and_processor(loads: list[int], busy: list[float], needed: int) -> None:
    assert agents_needed(loads, busy, 10_000, cores=2) == needed


def test_resources_become_ray_options() -> None:
    resources = Resources.model_validate({"num_cpus": 2, "num_gpus": 0.5, "memory": "2GiB", "labels": {"ray.io/market-type": "spot"}})
    assert ray_options(resources) == {
        "num_cpus": 2,
        "num_gpus": 0.5,
        "memory": 2 * GIB,
        "label_selector": {"ray.io/market-type": "spot"},
        "max_retries": 0,
    }
    assert ray_options(Resources()) == {"num_cpus": 1, "max_retries": 0}


def test_a_batch_file_is_read_with_a_key_for_each_line(tmp_path: Path) -> None:
    file = tmp_path / "runs.jsonl"
    file.write_text('{"workflow": "a", "inputs": {"x": 1}}\n\n{"workflow": "b", "mode": "simulated"}\n')
    lines = read([file], None, "job")
    assert [(line.request.workflow, line.request.idempotency_key) for line in lines] == [("a", "batch:job:1"), ("b", "batch:job:2")]
    assert read([file], "c", "job")[0].request.inputs == {"workflow": "a", "inputs": {"x": 1}}


@pytest.mark.parametrize("line", ["{", "[]", "{}", '{"workflow": 1}', '{"workflow": "a", "input": {}}', "NaN"])
def test_a_bad_line_is_named(tmp_path: Path, line: str) -> None:
    file = tmp_path / "runs.jsonl"
    file.write_text('{"workflow": "a"}\n' + line + "\n")
    with pytest.raises(RequestInvalid, match=r"runs\.jsonl:2"):
        read([file], None, "job")


def test_the_job_names_the_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "runs.jsonl"
    file.write_text("{}")
    monkeypatch.delenv("RAY_JOB_CONFIG_JSON_ENV_VAR", raising=False)
    assert submission_id([file]) == submission_id([file])
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", '{"metadata": {"job_submission_id": "raysubmit_1"}}')
    assert submission_id([file]) == "raysubmit_1"
