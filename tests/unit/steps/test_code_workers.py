"""Workers of code steps: their time, their death, and that the event loop goes on meanwhile."""

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import psutil
import pytest

from runtime.sandbox.program import DEFAULT_SECONDS
from runtime.settings import Settings
from runtime.steps.code import program_of
from runtime.steps.context import Clock, Work
from runtime.steps.protocol import StepResult
from runtime.steps.runner import StepRunner
from tests.unit.steps.programs import code, computing, gone, until, workers


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"code_steps": True})


@pytest.mark.parametrize(("timeout_ms", "seconds"), [(None, DEFAULT_SECONDS), (250, 0.25), (3_600_000, 300)])
def test_the_time_a_program_has(timeout_ms, seconds, make_call):
    call = make_call(code("return 1"), timeout_ms=timeout_ms)
    spec = {"source": "return 1", "inputs": {}, "memory": 2**23}
    assert program_of(spec, Work(call, None, Clock(None, lambda: None)), 100).seconds == seconds


async def started(runner: StepRunner, call: Any) -> tuple[asyncio.Task[list[StepResult]], list[psutil.Process]]:
    async def collect() -> list[StepResult]:
        return [result async for batch in runner.execute([call]) for result in batch]

    task = asyncio.create_task(collect())
    return task, await until(computing)


async def test_a_cancel_ends_an_endless_program_within_a_second(runner, make_call, output):
    task, busy = await started(runner, make_call(code("while True:\n    pass"), timeout_ms=300_000))
    began = time.perf_counter()
    await runner.cancel("run-1")
    assert (await task)[0].error["code"] == "canceled"
    await until(lambda: gone(busy))
    assert time.perf_counter() - began < 1
    assert await output("return 1") == 1


async def test_a_worker_that_dies_is_worth_another_attempt(runner, make_call, output):
    task, [worker] = await started(runner, make_call(code("while True:\n    pass"), timeout_ms=300_000))
    worker.kill()
    [result] = await task
    assert (result.error["code"], result.error["retryable"]) == ("worker_died", True)
    assert await output("return 1") == 1


async def test_an_idle_worker_that_died_is_replaced(output, run, make_call):
    assert await output("return 1") == 1
    for worker in workers():
        worker.kill()
    [result] = await run(make_call(code("return 2"), run_id="another"))
    assert result.output == 2 or result.error["code"] == "worker_died"  # whether its death was noticed before
    assert await output("return 3") == 3


async def test_without_the_interpreter_there_is_no_sandbox(error, monkeypatch):
    monkeypatch.setenv("MONTY_BIN", "/nonexistent")
    found = await error("return 1")
    assert (found["code"], found["retryable"]) in (("sandbox_unavailable", True), ("worker_died", True))


async def test_closing_leaves_no_worker(services, make_call):
    runner = StepRunner(services)
    task, busy = await started(runner, make_call(code("while True:\n    pass"), timeout_ms=300_000))
    await runner.close()
    assert (await task)[0].error["code"] == "executor_lost"
    await until(lambda: gone(busy))


@pytest.fixture
async def longest_turn() -> AsyncIterator[Callable[[], float]]:
    """The most CPU time the event loop's thread has taken without letting others come by (not wall time: other processes may be busy)."""
    turns = [0.0]

    async def watch() -> None:
        last = time.thread_time()
        while True:
            await asyncio.sleep(0)
            now = time.thread_time()
            turns[0] = max(turns[0], now - last)
            last = now

    gc.collect()
    gc.freeze()  # what thousands of tests have left in this process is no part of a turn
    task = asyncio.create_task(watch())
    yield lambda: turns[0]
    task.cancel()
    gc.unfreeze()


@pytest.mark.parametrize(
    "source",
    [
        "while True:\n    pass",
        "rows = []\nwhile True:\n    rows.append(str(len(rows)))",
    ],
)
async def test_the_event_loop_goes_on_meanwhile(source, runner, run, make_call, longest_turn):
    task, _busy = await started(runner, make_call(code(source), timeout_ms=3000))
    others = await run(make_call({"python": {"function": "sample_steps:noop", "args": {}}}, step="other", items=list(range(100))))
    assert len(others) == 100
    assert not task.done()
    await task
    assert longest_turn() < 0.5


async def test_endless_print_and_large_values_do_not_hold_the_event_loop(run, make_call, longest_turn):
    sources = (
        "while True:\n    print('x' * 1000)",
        "return [[n] for n in range(10 ** 5)]",
        "return 'x' * 900_000",
        "rows = []\nfor _ in range(40):\n    rows = [rows, rows]\nreturn rows",
    )
    results = await run(*(make_call(code(source), step=f"s{at}", timeout_ms=3000) for at, source in enumerate(sources)))
    assert len(results) == 4
    assert longest_turn() < 0.5


async def test_waiting_for_a_worker_does_not_count(run, make_call, runner):
    busy = "n = 0\nwhile n < 300000:\n    n += 1\nreturn n"
    results = await run(make_call(code(busy), items=list(range(24)), timeout_ms=20_000))
    assert {result.output for result in results} == {300_000}
    assert len(workers()) <= 8
