"""What becomes of an attempt: results, errors, timeouts, cancellation, joining, batches."""

import asyncio
import json
import time

import pytest
import sample_steps

from runtime.artifacts.open import open_artifacts
from runtime.references import reference
from runtime.settings import Settings
from runtime.steps.context import StepServices
from runtime.steps.flights import BATCH_RESULTS, Kept
from runtime.steps.outcome import Outcome
from runtime.steps.protocol import Item, StepResult
from runtime.steps.runner import StepRunner
from runtime.values import load


@pytest.fixture(autouse=True)
def fresh_samples():
    sample_steps.started, sample_steps.release = asyncio.Event(), asyncio.Event()
    sample_steps.seen.clear()
    sample_steps.thread_release.clear()
    yield
    sample_steps.thread_release.set()


def python(name, /, **args):
    return {"python": {"function": f"sample_steps:{name}", "args": args}}


async def test_result_names_its_attempt_and_output(run, make_call):
    [result] = await run(make_call(python("add", a=2), iteration=4, attempt=3, epoch=9))
    assert result == StepResult("run-1", 9, "work", 3, 4, None, output=3)


async def test_templates_see_scope_item_and_index(run, make_call):
    call = make_call(python("echo", x="${{ item.n }}", i="${{ index }}", t="${{ inputs.topic }}"), items=[{"n": 5}, {"n": 6}], scope={"inputs.topic": "tea"})
    results = sorted(await run(call), key=lambda result: result.index)
    assert [result.output for result in results] == [{"x": 5, "i": 0, "t": "tea"}, {"x": 6, "i": 1, "t": "tea"}]


async def test_large_values_of_the_scope_are_brought_in_once(run, make_call, services):
    digest, size = await services.artifacts.put(json.dumps(["a"] * 5).encode())
    call = make_call(python("spoil", values="${{ steps.notes.output }}"), items=[0, 0, 0], scope={"steps.notes.output": reference(digest, size)})
    # Each item gets its own copy: what one function does to its arguments the next one does not see.
    assert [result.output for result in await run(call)] == [6, 6, 6]


async def test_large_values_within_a_maps_output_are_brought_in(run, make_call, services):
    digest, size = await services.artifacts.put(b'"big"')
    call = make_call(python("echo", all="${{ steps.notes.output }}"), scope={"steps.notes.output": ["small", reference(digest, size)]})
    assert (await run(call))[0].output == {"all": ["small", "big"]}


async def test_missing_large_value_fails_every_item_clearly(run, make_call):
    call = make_call(python("echo", all="${{ steps.notes.output }}"), items=[1, 2], scope={"steps.notes.output": reference("0" * 64, 9)})
    assert [result.error["code"] for result in await run(call)] == ["artifact_missing"] * 2


async def test_items_that_look_like_references_are_not_followed(run, make_call, services):
    digest, size = await services.artifacts.put(b'"somebody else\'s"')
    forged = reference(digest, size)
    assert (await run(make_call(python("echo", x="${{ item }}"), items=[forged])))[0].output == {"x": forged}


@pytest.mark.parametrize(
    ("name", "args", "code", "retryable"),
    [
        ("not_a_number", {}, "output_invalid", False),
        ("infinite", {}, "output_invalid", False),
        ("an_object", {}, "output_invalid", False),
        ("deep", {}, "output_invalid", False),
        ("large", {"size": 2**20}, "output_too_large", False),
        ("fail", {}, "exception", True),
        ("leave", {}, "exception", True),
        ("leave_in_thread", {}, "exception", True),
        ("stop_iteration_in_thread", {}, "exception", True),
        ("cancel_itself", {}, "exception", True),
        ("own_timeout", {}, "exception", True),
        ("fail_with_code", {}, "no_stock", False),
        ("add", {}, "arguments_invalid", False),
        ("add", {"a": 1, "c": 2}, "arguments_invalid", False),
        ("echo", {"x": "${{ inputs.missing.deeper }}"}, "expression_failed", False),
    ],
)
async def test_errors_are_classified(run, make_call, name, args, code, retryable):
    [result] = await run(make_call(python(name, **args), scope={"inputs.missing": {}}))
    assert (result.error["code"], result.error["retryable"], result.output) == (code, retryable, None)
    json.dumps(result.error).encode()
    assert len(result.error["message"]) <= 4096
    assert "Traceback" not in json.dumps(result.error)


async def test_a_steps_own_error_keeps_everything(run, make_call):
    [result] = await run(make_call(python("fail_with_code")))
    expected = {"code": "no_stock", "message": "nothing is left", "retryable": False, "retry_after": 7, "details": {"left": 0, "when": [1, 2]}}
    assert result.error == expected


async def test_wrong_arguments_are_all_named(run, make_call):
    [result] = await run(make_call(python("add", c=1, d=2)))
    assert result.error["message"] == "sample_steps:add: 'a' is missing, 'c' is not a parameter, 'd' is not a parameter"


async def test_unknown_kind_is_an_error(run, make_call):
    [result] = await run(make_call({"python": {"function": "sample_steps:noop"}}, kind="teleport"))
    assert result.error["code"] == "kind_unknown"


async def test_outputs_become_plain_json(run, make_call):
    assert (await run(make_call(python("tuples"))))[0].output == {"pair": [1, [2, 3]], "5": "five"}
    assert (await run(make_call(python("lone_surrogate"), run_id="run-2")))[0].output == "a\ufffdb \U0001f600"


async def test_large_output_is_stored_and_referred_to(run, make_call, services):
    [result] = await run(make_call(python("large", size=70_000)))
    assert result.output["$artifact"]["size"] == 70_002
    assert await load(result.output, services.artifacts) == "x" * 70_000


async def test_output_that_looks_like_a_reference_is_stored_as_a_value(run, make_call, services):
    [result] = await run(make_call(python("looks_like_a_reference")))
    assert result.output["$artifact"]["sha256"] != "0" * 64
    assert (await load(result.output, services.artifacts))["$artifact"]["sha256"] == "0" * 64


async def test_timeout_is_an_error_and_the_function_is_stopped(run, make_call, runner):
    before = time.monotonic()
    [result] = await run(make_call(python("wait_for_release"), timeout_ms=50))
    assert (result.error["code"], result.error["retryable"]) == ("timeout", True)
    assert time.monotonic() - before < 5
    assert runner.in_flight == 0


async def test_function_that_ignores_its_cancellation_does_not_hold_the_result_up(run, make_call):
    [result] = await run(make_call(python("deaf"), timeout_ms=50))
    assert result.error["code"] == "timeout"
    sample_steps.release.set()


async def test_items_after_one_that_timed_out_are_not_hit_by_its_cancellation(run, make_call):
    call = make_call(python("first_waits", n="${{ item }}"), items=list(range(200)), timeout_ms=100)
    results = {result.index: result for result in await run(call)}
    assert results.pop(0).error["code"] == "timeout"
    assert [results[index].output for index in range(1, 200)] == list(range(1, 200))


async def test_thread_that_hangs_gives_its_place_up(run, make_call):
    [result] = await run(make_call(python("block_thread"), timeout_ms=50))
    assert result.error["code"] == "timeout"
    [other] = await run(make_call(python("add_in_thread", a=1)))
    assert other.output["sum"] == 2


async def test_waiting_for_a_thread_is_not_the_functions_time(run, make_call):
    # 32 threads for 64 items: half of them wait longer than the timeout before they begin.
    call = make_call(python("block_thread"), items=list(range(64)), timeout_ms=300)
    results = await run(call)
    assert [result.error["code"] for result in results] == ["timeout"] * 64
    [refused] = await run(make_call(python("add_in_thread", a=1)))
    assert (refused.error["code"], refused.error["retryable"]) == ("threads_exhausted", True)


async def test_cancel_ends_a_run(runner, make_call):
    results = runner.execute([make_call(python("wait_for_release"), items=[1, 2]), make_call(python("wait_for_release"), run_id="run-2")])
    first = asyncio.ensure_future(anext(results))
    await sample_steps.started.wait()
    await runner.cancel("run-1")
    await runner.cancel("run-1")
    batch = await first
    assert [(result.run_id, result.error["code"]) for result in batch] == [("run-1", "canceled")] * 2
    sample_steps.release.set()
    assert [result.output for result in await anext(results)] == ["released"]
    await results.aclose()


async def test_cancel_of_one_step_leaves_the_others(runner, make_call):
    calls = [make_call(python("wait_for_release"), step=step) for step in ("a", "b")]
    results = runner.execute(calls)
    first = asyncio.ensure_future(anext(results))
    await sample_steps.started.wait()
    await runner.cancel("run-1", "a")
    assert [result.step for result in await first] == ["a"]
    sample_steps.release.set()
    assert [result.output for result in await anext(results)] == ["released"]
    await results.aclose()


async def test_second_owner_joins_what_is_in_flight(runner, make_call):
    call = make_call(python("wait_for_release"))
    first = asyncio.ensure_future(collect(runner, call))
    await sample_steps.started.wait()
    second = asyncio.ensure_future(collect(runner, make_call(python("fail"), epoch=2, attempt=2)))
    await asyncio.sleep(0)
    assert runner.in_flight == 1
    sample_steps.release.set()
    [[one], [two]] = await asyncio.gather(first, second)
    assert (one.epoch, one.output) == (1, "released")
    assert (two.epoch, two.attempt, two.output) == (2, 2, "released")


async def test_result_nobody_was_there_for_goes_to_the_next_owner(runner, make_call):
    results = runner.execute([make_call(python("note", value="paid"))])
    first = asyncio.ensure_future(anext(results))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    await results.aclose()
    assert [result.output for result in await collect(runner, make_call(python("note", value="again"), epoch=2, attempt=2))] == ["paid"]
    assert sample_steps.seen == ["paid"]
    # Given once; asked for again it is another execution.
    assert [result.output for result in await collect(runner, make_call(python("note", value="again"), attempt=2))] == ["again"]


async def test_an_owner_that_has_forgotten_a_result_gets_it_again(runner, make_call):
    """One whose commit had an unknown outcome reads its run anew, under the same epoch."""
    paid, again = make_call(python("note", value="paid")), make_call(python("note", value="again"))
    assert [result.output for result in await collect(runner, paid) + await collect(runner, again)] == ["paid", "paid"]
    assert sample_steps.seen == ["paid"]


async def test_canceled_runs_leave_no_results_behind(runner, make_call):
    results = runner.execute([make_call(python("wait_for_release"))])
    first = asyncio.ensure_future(anext(results))
    await sample_steps.started.wait()
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    await runner.cancel("run-1")
    assert [result.output for result in await collect(runner, make_call(python("add", a=1)))] == [2]


async def test_batches_are_bounded_in_number_and_size(runner, make_call):
    small = [batch async for batch in runner.execute([make_call(python("noop"), items=list(range(1000)))])]
    assert max(map(len, small)) <= BATCH_RESULTS
    assert sorted(result.index for batch in small for result in batch) == list(range(1000))
    big = [batch async for batch in runner.execute([make_call(python("large", size=60_000), items=list(range(50)), run_id="run-2")])]
    assert max(map(len, big)) <= 2**20 // 60_000
    assert sum(map(len, big)) == 50


async def test_items_that_never_wait_share_a_task(runner, make_call):
    tasks = set()

    async def watch():
        while True:
            tasks.update(asyncio.all_tasks())
            await asyncio.sleep(0)

    watcher = asyncio.create_task(watch())
    await collect(runner, make_call(python("noop"), items=list(range(1000))))
    watcher.cancel()
    assert len(tasks) < 70


async def test_empty_batch_and_no_call_yield_nothing(run, make_call):
    assert await run(make_call(python("noop"), items=[])) == []
    assert await run() == []


async def test_attempts_of_items_are_their_own(run, make_call):
    call = make_call(python("about"), items=[])
    call = make_call(python("about"), iteration=None, definition=call.definition, attempt=1)
    object.__setattr__(call, "items", (Item(3, 2, None),))
    [result] = await run(call)
    assert (result.attempt, result.index) == (2, 3)
    assert result.output["attempt"] == 2
    assert result.output["index"] == 3


async def test_idempotency_key_is_the_same_for_all_attempts_and_differs_between_items(run, make_call):
    keys = {}
    for attempt in (1, 2):
        for result in await run(make_call(python("about"), items=[0, 0], attempt=attempt)):
            keys.setdefault(result.index, set()).add(result.output["key"])
    assert [len(keys[0]), len(keys[1])] == [1, 1]
    assert keys[0] != keys[1]


async def test_named_artifacts_travel_in_the_result(run, make_call, services):
    [result] = await run(make_call(python("save")))
    [saved] = result.artifacts
    assert saved == {"name": "report.md", "digest": result.output["sha256"], "size": 8, "media_type": "text/markdown", "step": "work"}
    assert await services.artifacts.get(saved["digest"]) == b"# Report"
    [threaded] = await run(make_call(python("save_in_thread", data="hello"), run_id="run-2"))
    assert await services.artifacts.get(threaded.artifacts[0]["digest"]) == b"hello"


@pytest.mark.parametrize("name", ["", "a/b", "..", "a\\b", "a\0b", "é" * 200, "\u202egpj.exe"])
async def test_artifact_names_are_labels(run, make_call, name):
    [result] = await run(make_call(python("save", name=name)))
    assert result.error["code"] == "artifact_invalid"


async def test_close_ends_everything(services, make_call):
    runner = StepRunner(services)
    waiting = asyncio.ensure_future(collect(runner, make_call(python("wait_for_release"))))
    await sample_steps.started.wait()
    await runner.close()
    assert [result.error["code"] for result in await waiting] == ["executor_lost"]


class Asks:
    """A kind whose work asks until it is answered."""

    def __init__(self):
        self.ran = 0

    async def run(self, spec, work):
        self.ran += 1
        return Outcome("done") if work.call.calls else Outcome(None, {"calls": 1}, asks=({"for": "approval", "call": "c"},))

    async def close(self):
        """Nothing to close."""


async def test_questions_are_a_result_and_are_not_given_to_the_next_owner_again(tmp_path, make_call):
    asks = Asks()
    settings = Settings(home=tmp_path)
    runner = StepRunner(StepServices(settings, open_artifacts(settings)), {"agent": asks})
    spec = {"agent": {"prompt": "x"}}
    [first] = await collect(runner, make_call(spec, kind="agent"))
    assert (first.output, first.error, first.asks, first.usage) == (None, None, ({"for": "approval", "call": "c"},), {"calls": 1})
    answered = make_call(spec, kind="agent", epoch=2, attempt=2, calls=({"name": "answer", "n": 1, "id": "c", "result": {}},))
    [second] = await collect(runner, answered)
    assert (second.output, second.asks, second.attempt, asks.ran) == ("done", (), 2, 2)
    await runner.close()


async def test_kept_results_are_bounded():
    kept = Kept()
    for index in range(100):
        kept.keep(("work", index), StepResult("run", 1, "work", 1, None, index), 2**20)
    assert len(kept) == 32
    assert kept.take("run", ("work", 0), 2, 2) is None
    assert kept.take("run", ("work", 99), 2, 2)[0].attempt == 2
    assert kept.take("run", ("work", 99), 2, 2) is None


async def test_a_kept_failure_is_no_answer_to_the_next_attempt():
    kept = Kept()
    failed = StepResult("run", 1, "work", 1, error={"code": "exception", "message": "no"})
    kept.keep(("work", None), failed, 10)
    assert kept.take("run", ("work", None), 2, 2) is None


async def collect(runner, *calls):
    return [result async for batch in runner.execute(calls) for result in batch]


async def test_cost_of_items_that_do_nothing(runner, make_call, capsys):
    call = make_call(python("noop"), items=list(range(1000)))
    await collect(runner, call)
    costs = []
    for _ in range(10):
        before = time.process_time()
        await collect(runner, call)
        costs.append((time.process_time() - before) * 1000)
    with capsys.disabled():
        print(f"\n1,000 no-op items: {min(costs):.1f} ms CPU at best, {sorted(costs)[5]:.1f} ms median")
