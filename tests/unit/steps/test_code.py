"""Code steps with real workers: what programs may do, what they may not, and that nothing of it disturbs anybody else."""

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import psutil
import pytest
import structlog

from runtime.ids import uuid7
from runtime.sandbox.program import DEFAULT_SECONDS, MAX_PRINTED
from runtime.settings import Settings
from runtime.steps.code import program_of
from runtime.steps.context import Clock, StepServices, Work
from runtime.steps.protocol import StepResult
from runtime.steps.runner import StepRunner


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"code_steps": True})


def code(source: str, memory: int | None = None, **inputs: Any) -> dict[str, Any]:
    return {"code": {"source": source, "inputs": inputs} | ({} if memory is None else {"memory": memory})}


@pytest.fixture
def output(run: Callable[..., Any], make_call: Callable[..., Any]) -> Callable[..., Any]:
    """What a program gives."""

    async def output(source: str, **inputs: Any) -> Any:
        [result] = await run(make_call(code(source, **inputs)))
        assert result.error is None, result.error
        return result.output

    return output


@pytest.fixture
def error(run: Callable[..., Any], make_call: Callable[..., Any]) -> Callable[..., Any]:
    """How a program fails."""

    async def error(source: str, *, memory: int | None = None, timeout_ms: int = 5000, **inputs: Any) -> dict[str, Any]:
        [result] = await run(make_call(code(source, memory, **inputs), timeout_ms=timeout_ms))
        assert result.error is not None, result.output
        return result.error

    return error


def workers() -> list[psutil.Process]:
    """This process's workers."""
    return [process for process in psutil.Process().children(recursive=True) if process.name() in ("monty", "worker", "python")]


async def until(condition: Callable[[], Any]) -> Any:
    async with asyncio.timeout(30):
        while not (found := condition()):  # noqa: ASYNC110 - another process has no event
            await asyncio.sleep(0.01)
    return found


def gone(processes: list[psutil.Process]) -> bool:
    """Whether all of them have ended."""
    return not {process.pid for process in processes} & {process.pid for process in workers() if process.status() != psutil.STATUS_ZOMBIE}


def computing() -> list[psutil.Process]:
    """Workers that have been at work for a while: starting costs less."""
    return [process for process in workers() if process.name() == "monty" and sum(process.cpu_times()[:2]) > 0.15]


# --- what a program can do -------------------------------------------------------------------------------------------

PROGRAMS = {
    "return": ("return 1 + 1", 2),
    "no return": ("x = 1", None),
    "a last expression is no output": ("1 + 1", None),
    "return from within": ("for n in [1, 2, 3]:\n    if n > 1:\n        return n\nreturn 0", 2),
    "functions that call each other": ("def f(n):\n    return g(n) + 1\ndef g(n):\n    return n if n < 1 else f(n - 1)\nreturn f(5)", 6),
    "globals": ("count = 0\ndef up():\n    global count\n    count += 1\nup()\nup()\nreturn count", 2),
    "classes": ("class P:\n    def __init__(self, n):\n        self.n = n\n    def twice(self):\n        return self.n * 2\nreturn P(4).twice()", 8),
    "match": ("match {'kind': 'a', 'n': 3}:\n    case {'kind': 'a', 'n': n}:\n        return n", 3),
    "exceptions": ("try:\n    1 / 0\nexcept ZeroDivisionError as error:\n    return str(error)", "division by zero"),
    "modules": ("import re, json, math\nreturn [re.sub('a+', 'b', 'xaay'), json.loads('[1]'), math.floor(2.5)]", ["xby", [1], 2]),
    "tuples become lists": ("return (1, (2,))", [1, [2]]),
    "text": ("return {'é': '\\U0001f600', 'quote': '\"'}", {"é": "\U0001f600", "quote": '"'}),
    "no template": ("return '${{ inputs.secret }}'", "${{ inputs.secret }}"),
    "numbers as keys": ("return {1: 2}", {"1": 2}),
    "names of the wrapper are free": ("json = text = output = limit = source = names = 1\nreturn json", 1),
}


@pytest.mark.parametrize("case", PROGRAMS)
async def test_programs(case, output):
    source, expected = PROGRAMS[case]
    assert await output(source) == expected


async def test_inputs_are_names_and_come_back_as_they_were(output):
    value = {"list": [1, 2.5, None, True, "é\n"], "deep": {"a": [[]]}, "large": 2**60}
    assert await output("return [a, b, inputs, text]", a=value, b="${{ 1 + 1 }}", inputs="mine", text="too") == [value, 2, "mine", "too"]


async def test_items_of_a_map_are_independent_of_each_other(run, make_call):
    spec = code("try:\n    return seen\nexcept NameError:\n    pass\nseen = item\nif item == 2:\n    return 1 / 0\nreturn seen * 10", item="${{ item }}")
    results = {result.index: result for result in await run(make_call(spec, items=[1, 2, 3]))}
    assert (results[0].output, results[2].output) == (10, 30)
    assert results[1].error["message"] == "line 7: ZeroDivisionError: division by zero"


async def test_a_simulated_run_runs_it(run, make_call):
    [result] = await run(make_call(code("return 3"), mode="simulated"))
    assert result.output == 3


async def test_large_values_pass(output):
    rows = [{"id": n, "name": f"name {n}"} for n in range(10_000)]
    assert await output("return [row['id'] for row in rows]", rows=rows, memory=64 * 2**20) == list(range(10_000))


# --- the same every time ---------------------------------------------------------------------------------------------

CHANCE = "import random, datetime, time\nreturn [random.random(), random.randint(0, 10**9), str(datetime.datetime.now()), time.time(), list({'b', 'a', 'c'})]"


async def test_another_attempt_gives_the_same_and_another_run_does_not(run, make_call):
    run_id, other = uuid7(1_767_225_600_000), uuid7(1_767_225_600_000)
    outputs = [
        (await run(make_call(code(CHANCE), run_id=run_id, attempt=1)))[0].output,
        (await run(make_call(code(CHANCE), run_id=run_id, attempt=2)))[0].output,
        (await run(make_call(code(CHANCE), run_id=other)))[0].output,
    ]
    assert outputs[0] == outputs[1]
    assert outputs[0][2:4] == ["2026-01-01 00:00:00", 1_767_225_600.0]  # the creation of the run
    assert outputs[0][:2] != outputs[2][:2]


async def test_items_have_chances_of_their_own(run, make_call):
    results = await run(make_call(code("import random\nreturn random.random()"), items=[1, 2, 3]))
    assert len({result.output for result in results}) == 3


async def test_sleep_takes_no_time(output):
    began = time.perf_counter()
    assert await output("import time, asyncio\ntime.sleep(3000)\nasync def f():\n    await asyncio.sleep(3000)\n    return 1\nreturn asyncio.run(f())") == 1
    assert time.perf_counter() - began < 30


# --- what a program cannot do ----------------------------------------------------------------------------------------

MEMORY, TIME, ERROR, OUTPUT = "memory_exceeded", "timeout", "code_error", "output_not_json"
HOSTILE = {
    "the fourteen": [
        ("while True:\n    pass", TIME),
        ("return 10 ** 10 ** 10", MEMORY),
        ("return 'a' * 10 ** 10", MEMORY),
        ("return ().__class__.__bases__[0].__subclasses__()", ERROR),
        ("import socket", ERROR),
        ("return open('/etc/passwd').read()", ERROR),
        ("return __import__('os').system('true')", ERROR),
        ("import os\nreturn os.environ['PATH']", ERROR),
        ("import subprocess", ERROR),
        ("return eval('(' * 5000 + ')' * 5000)", ERROR),
        ("def f():\n    return f()\nreturn f()", ERROR),
        ("return [0] * 10 ** 9", MEMORY),
        ("rows = []\nwhile True:\n    rows.append('x' * 10 ** 6 + str(len(rows)))", MEMORY),
        ("try:\n    while True:\n        pass\nexcept BaseException:\n    return 1", TIME),
    ],
    "attributes": [
        (f"return {expression}", ERROR)
        for expression in (
            "(lambda: 0).__globals__",
            "getattr(1, '__class__')",
            "'{0.__class__}'.format(1)",
            "f'{print.__self__}'",
            "type(1).__mro__",
            "[].__reduce_ex__(2)",
            "globals()",
            "vars()['source']",
            "compile('1', 'a', 'eval')",
            "breakpoint()",
            "input()",
        )
    ],
    "the world": [
        ("import os\nreturn os.listdir('/')", ERROR),
        ("import os\nreturn os.urandom(4)", ERROR),
        ("import os\nos._exit(1)", ERROR),
        ("import sys\nsys.exit(1)", ERROR),
        ("raise SystemExit(1)", ERROR),
        ("from pathlib import Path\nreturn Path('/etc/passwd').read_text()", ERROR),
        ("import ctypes", ERROR),
        ("import importlib", ERROR),
        ("import threading", ERROR),
        ("import json\njson.dumps = None", ERROR),
        ("with open('/tmp/marker', 'w') as file:\n    file.write('x')", ERROR),
    ],
    "sizes": [
        ("return 2 ** (2 ** 40)", MEMORY),
        ("return pow(3, 10 ** 9)", MEMORY),
        ("return int('9' * 5000000)", ERROR),
        ("return bytes(10 ** 10)", MEMORY),
        ("return '%0999999999d' % 1", MEMORY),
        ("return f'{1:0999999999}'", MEMORY),
        ("return '{:>9999999999}'.format(1)", MEMORY),
        ("return 'a'.ljust(10 ** 10)", MEMORY),
        ("return ('a' * 10 ** 6).replace('a', 'b' * 10 ** 6)", MEMORY),
        ("return list(range(10 ** 9))", MEMORY),
    ],
    "time": [
        ("return sum(range(10 ** 13))", TIME),
        ("rows = [1]\nfor row in rows:\n    rows.append(row)\n    rows = rows[:1]\n    while True: row += 1", TIME),
        ("exec('while True: pass')", TIME),
        ("while True:\n    try:\n        missing\n    except NameError:\n        pass", TIME),
    ],
    "outputs": [
        ("return {1, 2}", OUTPUT),
        ("return float('nan')", OUTPUT),
        ("return b'abc'", OUTPUT),
        ("return print", OUTPUT),
        ("class A:\n    pass\nreturn A()", OUTPUT),
        ("import datetime\nreturn datetime.datetime.now()", OUTPUT),
        ("return {(1, 2): 3}", OUTPUT),
        ("return 10 ** 5000", OUTPUT),
        ("rows = []\nrows.append(rows)\nreturn rows", OUTPUT),
        ("rows = []\nfor _ in range(3000):\n    rows = [rows]\nreturn rows", OUTPUT),
        ("rows = []\nfor _ in range(40):\n    rows = [rows, rows]\nreturn rows", TIME),
        ("return 'x' * 2 ** 21", "output_too_large"),
    ],
}


@pytest.mark.parametrize(("source", "expected"), [each for group in HOSTILE.values() for each in group])
async def test_hostile_programs_fail_and_nothing_else_happens(source, expected, error, output, runner):
    found = await error(source, timeout_ms=1000)
    allowed = {expected, TIME} if expected == MEMORY else {expected}  # a slow machine may run out of time first
    assert found["code"] in allowed, found
    assert not found["retryable"]
    assert "Traceback" not in found["message"]
    assert "python-input" not in found["message"]
    assert await output("return 1") == 1


@pytest.mark.parametrize(
    "source",
    [
        "import re\nreturn re.fullmatch('(x+x+)+y', 'x' * 50000) is None",
        "import re\nreturn re.match('(a|aa)+$', 'a' * 40 + 'b') is None",
        "import re\nreturn re.search('(.*)*(.*)*(.*)*[^x]', 'x' * 30) is None",
    ],
)
async def test_regular_expressions_do_not_explode(source, run, make_call):
    [result] = await run(make_call(code(source), timeout_ms=3000))
    assert result.output is True or result.error["code"] in (TIME, ERROR)


async def test_memory_is_the_step_s_own(error, output):
    hungry = "return len([str(n) for n in range(300000)])"
    assert (await error(hungry, memory=8 * 2**20))["code"] == MEMORY
    assert (await error("return 1", memory=8 * 2**20, text="x" * (9 * 2**20)))["code"] == MEMORY
    assert await output(hungry, memory=256 * 2**20) == 300_000


async def test_it_is_off_until_the_operator_allows_it(services, make_call):
    runner = StepRunner(StepServices(services.settings.model_copy(update={"code_steps": False}), services.artifacts))
    results = [result async for batch in runner.execute([make_call(code("return 1"))]) for result in batch]
    await runner.close()
    assert [result.error["code"] for result in results] == ["code_not_allowed"]
    assert not Settings.model_fields["code_steps"].default


# --- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "message", "details"),
    [
        ("x = {}\n\nreturn x['a']", "line 3: KeyError: a", {"type": "KeyError", "line": 3}),
        ("def f(n):\n    return 1 / n\n\nreturn f(0)", "line 2: ZeroDivisionError: division by zero", {"type": "ZeroDivisionError", "line": 2}),
        ("raise ValueError('no stock')", "line 1: ValueError: no stock", {"type": "ValueError", "line": 1}),
        ("raise TimeoutError('mine')", "line 1: TimeoutError: mine", {"type": "TimeoutError", "line": 1}),
        ("return missing", "line 1: NameError: name 'missing' is not defined", {"type": "NameError", "line": 1}),
    ],
)
async def test_an_error_names_the_line_of_the_program(source, message, details, error):
    found = await error(source)
    assert (found["code"], found["message"], found["details"]) == (ERROR, message, details)


# --- print -----------------------------------------------------------------------------------------------------------


async def test_print_goes_to_the_log(output, make_call, run):
    with structlog.testing.capture_logs() as lines:
        assert await output("print('kept', 3)\nprint('done')\nreturn 1") == 1
        await run(make_call(code("print('before')\n1 / 0"), items=["a"]))
    printed = [line for line in lines if line["event"] == "printed"]
    assert [(line["text"], line["step"], line["index"]) for line in printed] == [("kept 3\ndone\n", "work", None), ("before\n", "work", 0)]


async def test_print_has_an_end(error):
    for source in ("print('x' * 10 ** 7)", "for _ in range(10 ** 5):\n    print('x' * 100)"):
        assert (await error(source))["code"] == "print_too_large"
    assert MAX_PRINTED == 65_536


# --- time, cancel, death ---------------------------------------------------------------------------------------------


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
    [result] = await run(make_call(code("return 2")))
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
