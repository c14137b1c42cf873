"""Steps in processes of their own: the same results, and nothing survives a timeout, a cancel or the parent."""

import asyncio
import os
import pickle
import sys
from pathlib import Path

import pytest
import sample_steps

from runtime.steps.isolated import LocalIsolated, run_isolated


def python(name, /, **args):
    return {"python": {"function": f"sample_steps:{name}", "args": args}}


@pytest.fixture
async def isolated(services):
    runner = LocalIsolated(services)
    yield runner
    await runner.close()


async def collect(runner, *calls):
    return [result async for batch in runner.execute(calls) for result in batch]


def alive(pid):
    """Whether a process runs; one that has ended and waits for its parent to notice does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


async def until(condition):
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - another process cannot set an event of ours
            await asyncio.sleep(0.01)


async def test_items_run_in_other_processes(isolated, make_call, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    results = await collect(isolated, make_call(python("pid"), items=[1, 2]))
    assert len({result.output["pid"] for result in results} | {os.getpid()}) == 3
    assert all(result.output["secret"] is None for result in results)


async def test_outputs_errors_and_artifacts_come_back(isolated, make_call, services, capfd):
    calls = [
        make_call(python("add_in_thread", a=1), step="sum"),
        make_call(python("fail_with_code"), step="code"),
        make_call(python("not_a_number"), step="nan"),
        make_call(python("save", name="x.txt", data="hello"), step="save"),
        make_call(python("large", size=70_000), step="large"),
        make_call(python("leave"), step="leave"),
        make_call(python("die"), step="die"),
        make_call(python("shout"), step="shout"),
        make_call({"python": {"function": "os:system", "args": {}}}, step="os"),
    ]
    results = {result.step: result for result in await collect(isolated, *calls)}
    assert results["sum"].output["sum"] == 2
    assert results["code"].error == {
        "code": "no_stock",
        "message": "nothing is left",
        "retryable": False,
        "retry_after": 7,
        "details": {"left": 0, "when": [1, 2]},
    }
    assert results["nan"].error["code"] == "output_invalid"
    assert await services.artifacts.get(results["save"].artifacts[0]["digest"]) == b"hello"
    assert results["large"].output["$artifact"]["size"] == 70_002
    assert (results["leave"].error["code"], results["die"].error["code"]) == ("exception", "executor_lost")
    assert "SIGKILL" in results["die"].error["message"]
    assert results["shout"].output is True
    assert capfd.readouterr().out == ""
    assert results["os"].error["code"] == "function_not_allowed"


async def test_timeout_kills_the_process_and_its_children(isolated, make_call, tmp_path):
    file = tmp_path / "pids"
    [result] = await collect(isolated, make_call(python("spin", path=str(file)), timeout_ms=1500))
    assert result.error["code"] == "timeout"
    pids = [int(pid) for pid in file.read_text().split()]
    await until(lambda: not any(map(alive, pids)))


async def test_cancel_kills_the_process_and_its_children(isolated, make_call, tmp_path):
    file = tmp_path / "pids"
    running = asyncio.ensure_future(collect(isolated, make_call(python("spin", path=str(file)))))
    await until(lambda: file.exists() and len(file.read_text().split()) == 2)
    await isolated.cancel("run-1")
    assert [result.error["code"] for result in await running] == ["canceled"]
    pids = [int(pid) for pid in file.read_text().split()]
    await until(lambda: not any(map(alive, pids)))


@pytest.mark.parametrize("die", [False, True])
async def test_what_a_function_leaves_behind_is_ended(isolated, make_call, tmp_path, die):
    file = tmp_path / "pids"
    [result] = await collect(isolated, make_call(python("leave_a_child_behind", path=str(file), die=die)))
    assert (result.error["code"] if die else result.output) == ("executor_lost" if die else "done")
    [child] = file.read_text().split()
    await until(lambda: not alive(child))


PARENT = """
import asyncio, pickle, sys
from runtime.artifacts.open import open_artifacts
from runtime.steps.context import StepServices
from runtime.steps.isolated import LocalIsolated
settings, call = pickle.load(sys.stdin.buffer)
async def main():
    async for batch in LocalIsolated(StepServices(settings, open_artifacts(settings))).execute([call]):
        print(batch)
asyncio.run(main())
"""


async def test_processes_end_with_their_parent(settings, make_call, tmp_path):
    file = tmp_path / "pids"
    assignment = pickle.dumps((settings, make_call(python("spin", path=str(file)))))
    path = os.pathsep.join(entry for entry in sys.path if entry)
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", PARENT, stdin=asyncio.subprocess.PIPE, env=os.environ | {"PYTHONPATH": path})
    parent.stdin.write(assignment)
    parent.stdin.close()
    await until(lambda: file.exists() and len(file.read_text().split()) == 2)
    parent.kill()
    await parent.wait()
    pids = [int(pid) for pid in file.read_text().split()]
    await until(lambda: not any(map(alive, pids)))


def test_run_isolated_is_synchronous_and_whole(settings, make_call):
    call = make_call(python("add_in_thread", a="${{ item }}"), items=[1, 2, 3])
    results = run_isolated(call, settings)
    assert sorted(result.output["sum"] for result in results) == [2, 3, 4]
    [late] = run_isolated(make_call(python("block_thread"), timeout_ms=50), settings)
    sample_steps.thread_release.set()
    assert late.error["code"] == "timeout"
