"""Retries and their patience, timeouts of attempts, deadlines of steps and of the run, and waiting for a moment."""

from dataclasses import replace
from typing import Any

import pytest

from runtime.definition.model import Retry
from runtime.definition.types import MAX_DURATION_MS
from runtime.engine.commands import StartItems, StartStep, StopStep
from runtime.engine.retry import ALONE_AFTER, MAX_CRASHES, delay_ms, may_retry, retry_at
from tests.unit.engine.driver import START, World, failure

PY = "python: {function: 'm:f'}"


def a_step(options: str, inputs: Any = None) -> World:
    return World(f"inputs: {{t: {{}}}}\nsteps: {{a: {{{options}}}}}", inputs).go()


# --- retry policy ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("backoff", "delays"),
    [("exponential", [1000, 2000, 4000, 8000, 9000]), ("linear", [1000, 2000, 3000, 4000, 5000]), ("constant", [1000, 1000, 1000, 1000, 1000])],
)
def test_each_backoff(backoff: Any, delays: list[int]) -> None:
    retry = Retry.model_validate({"backoff": backoff, "initial": "1s", "maximum": "9s", "jitter": 0.0})
    assert [delay_ms(retry, attempt, seed=1, key="a") for attempt in range(1, 6)] == delays


def test_a_hundredth_attempt_overflows_nothing() -> None:
    retry = Retry.model_validate({"factor": 10.0, "initial": "366d", "maximum": "366d", "jitter": 0.0})
    assert delay_ms(retry, 100, seed=1, key="a") == MAX_DURATION_MS


def test_jitter_spreads_within_its_share_and_never_beyond_the_maximum() -> None:
    retry = Retry.model_validate({"backoff": "constant", "initial": "10s", "maximum": "11s", "jitter": 0.5})
    delays = [delay_ms(retry, 1, seed=seed, key="a") for seed in range(200)]
    assert min(delays) >= 5_000
    assert max(delays) == 11_000
    assert len(set(delays)) > 50


def test_jitter_is_the_same_for_the_same_seed_step_and_attempt_only() -> None:
    retry = Retry(backoff="constant")
    first = delay_ms(retry, 1, seed=1, key="a")
    assert first == delay_ms(retry, 1, seed=1, key="a")
    assert len({first, delay_ms(retry, 2, seed=1, key="a"), delay_ms(retry, 1, seed=2, key="a"), delay_ms(retry, 1, seed=1, key="b")}) == 4


def test_who_may_try_again() -> None:
    retry = Retry(max_attempts=2, non_retryable=["bad"])
    assert may_retry(retry, 1, failure())
    assert not may_retry(retry, 2, failure())
    assert not may_retry(retry, 1, failure("bad"))
    assert not may_retry(retry, 1, failure(retryable=False))


@pytest.mark.parametrize(("asked", "delay"), [(None, 1000), (0.2, 1000), (7, 7000), (-3, 1000), (1e308, MAX_DURATION_MS), (float("inf"), MAX_DURATION_MS)])
def test_the_other_side_may_ask_for_more_patience(asked: float | None, delay: int) -> None:
    retry = Retry(jitter=0.0)
    assert retry_at(retry, 1, failure(retry_after=asked), now=5, seed=1, key="a") == 5 + delay


def test_those_who_are_told_the_same_time_do_not_come_together() -> None:
    times = {retry_at(Retry(jitter=0.2), 1, failure(retry_after=100), now=0, seed=1, key=f"m[{item}]") for item in range(100)}
    assert min(filter(None, times)) >= 100_000
    assert max(filter(None, times)) <= 120_000
    assert len(times) > 50


def test_a_step_is_tried_again_until_its_attempts_are_used_up() -> None:
    run = a_step(f"{PY}, retry: {{max_attempts: 3, initial: 10s, jitter: 0}}").fail("a")
    assert (run.state.status, run.state.waiting_for, run.wake_at) == ("waiting", "retry", run.now + 10_000)
    run.wake().fail("a")
    assert run.wake_at == run.now + 20_000
    run.wake().fail("a")
    assert run.told("a") == ["step.started", "step.retrying", "step.started", "step.retrying", "step.started", "step.failed"]
    assert [command.attempt for command in run.given(StartStep, "a")] == [1, 2, 3]


def test_a_short_delay_is_waited_out_in_memory() -> None:
    run = a_step(f"{PY}, retry: {{initial: 5s, jitter: 0}}").fail("a")
    assert run.owned
    assert run.state.status == "running"
    assert run.sleep(4_999).flights == {}
    assert run.sleep(1).flights["a", None].attempt == 2


def test_an_attempt_whose_process_died_is_repeated_at_once_and_at_last_alone() -> None:
    run = a_step(f"{PY}, retry: {{max_attempts: 1}}")
    for _ in range(MAX_CRASHES - 1):
        run.fail("a", "executor_lost", retry_after=9)
        assert run.flights
    assert [command.alone for command in run.given(StartStep, "a")] == [False] * ALONE_AFTER + [True] * (MAX_CRASHES - ALONE_AFTER)
    assert run.fail("a", "executor_lost").error("a") == "poison"
    assert run.state.status == "failed"


def test_crashes_use_no_attempt_up() -> None:
    run = a_step(f"{PY}, retry: {{max_attempts: 2, jitter: 0}}").fail("a", "executor_lost").fail("a", "executor_lost").fail("a").sleep(1000)
    assert run.flights["a", None].attempt == 4
    assert run.fail("a").error("a") == "boom"


def test_each_iteration_counts_anew() -> None:
    run = a_step(f"{PY}, retry: {{max_attempts: 1}}, loop: {{max_iterations: 3}}")
    for _ in range(3):
        for _ in range(MAX_CRASHES - 1):
            run.fail("a", "executor_lost")
        run.finish("a", "x")
    assert run.state.status == "succeeded"


def test_an_item_that_brings_processes_down_ends_alone_and_its_neighbours_go_on() -> None:
    run = World(f"steps: {{m: {{{PY}, map: {{over: '[1, 2]', max_failures: 1}}, retry: {{max_attempts: 1}}}}}}").go()
    for _ in range(ALONE_AFTER):
        lost = [replace(flight, error=failure("executor_lost")) for flight in run.flights.values()]
        run.go(results=lost)
    assert [(command.alone, [index for index, *_ in command.items]) for command in run.given(StartItems, "m")][-1] == (True, [0, 1])
    run.finish("m", "fine", index=0)
    for _ in range(MAX_CRASHES - ALONE_AFTER):
        run.fail("m", "executor_lost", index=1)
    items = run.state.steps["m"].items
    assert items is not None
    assert items.failed[1]["code"] == "poison"
    assert run.output("m") == ["fine", None]
    assert (items.crashes, items.failures) == ({}, {})


def test_the_workflows_defaults_apply() -> None:
    run = World(f"defaults: {{retry: {{max_attempts: 1}}, timeout: 3s}}\nsteps: {{a: {{{PY}}}}}").go()
    assert run.given(StartStep, "a")[0].timeout_ms == 3000
    assert run.fail("a").state.status == "failed"


# --- timeouts and deadlines ------------------------------------------------------------------------------------------


def test_an_attempt_gets_no_more_time_than_its_step_has_left() -> None:
    run = a_step(f"{PY}, timeout: 40s, deadline: 60s, retry: {{initial: 30s, jitter: 0}}").fail("a")
    run.wake()
    assert [command.timeout_ms for command in run.given(StartStep, "a")] == [40_000, 30_000]
    run = a_step(f"{PY}, deadline: 60s, map: {{over: '[1]'}}")
    assert run.given(StartItems, "a")[0].timeout_ms == 60_000


def test_without_timeout_and_deadline_an_attempt_has_all_the_time() -> None:
    assert a_step(PY).given(StartStep, "a")[0].timeout_ms is None


def test_no_retry_is_planned_beyond_the_deadline() -> None:
    run = a_step(f"{PY}, deadline: 10s, retry: {{initial: 10s, jitter: 0}}").fail("a")
    assert (run.statuses()["a"], run.error("a")) == ("failed", "boom")
    run = a_step(f"{PY}, deadline: 11s, retry: {{initial: 10s, jitter: 0}}").fail("a")
    assert run.statuses()["a"] == "retrying"


@pytest.mark.parametrize(
    "options", [PY, f"{PY}, map: {{over: '[1, 2]'}}", "approval: {message: well}", "signal: {name: go}", "wait: {for: 1h}", "workflow: {name: other}"]
)
def test_a_deadline_ends_whatever_a_step_does(options: str) -> None:
    run = a_step(f"{options}, deadline: 10s")
    assert run.sleep(9_999).statuses()["a"] in ("running", "waiting")
    run.sleep(1)
    assert run.error("a") == "deadline"
    assert run.state.status == "failed"
    assert not run.flights
    if "python" in options:
        assert run.given(StopStep, "a")


def test_a_deadline_rings_while_a_retry_is_awaited() -> None:
    run = a_step(f"{PY}, deadline: 25s, retry: {{initial: 10s, jitter: 0}}").fail("a").wake()
    run.fail("a", retry_after=0)
    assert (run.statuses()["a"], run.error("a")) == ("failed", "boom"), "the next retry would be due at 30 s"


def test_the_deadline_of_the_run_winds_it_up() -> None:
    run = World(f"deadline: 30s\nsteps: {{a: {{{PY}}}, b: {{wait: {{for: 1h}}}}}}\nfinally: {{z: {{set: {{code: '${{{{ run.error.code }}}}'}}}}}}").go()
    assert run.wake_at == START + 30_000
    run.wake()
    assert run.statuses() == {"a": "canceled", "b": "canceled", "z": "succeeded"}
    assert (run.state.status, (run.state.error or {}).get("code")) == ("failed", "deadline")
    assert run.output("z") == {"code": "deadline"}


@pytest.mark.parametrize("before", ["cancel", "fail"])
def test_a_deadline_that_rings_in_finally_changes_nothing_any_more(before: str) -> None:
    run = World(f"deadline: 30s\nsteps: {{a: {{{PY}, retry: {{max_attempts: 1}}}}}}\nfinally: {{z: {{{PY}}}}}").go()
    _ = run.send("cancel") if before == "cancel" else run.fail("a")
    run.sleep(40_000)
    assert run.statuses()["z"] == "running"
    run.finish("z")
    assert run.state.status == ("canceled" if before == "cancel" else "failed")
    assert (run.state.error or {}).get("code") == (None if before == "cancel" else "boom")


def test_the_alarms_of_a_step_that_has_ended_mean_nothing() -> None:
    run = World("steps: {s: {signal: {name: go, expires: 2h}}, w: {wait: {for: 1h}}, z: {wait: {for: 3h}}}").go().send("signal", name="go")
    run.sleep(2 * 3_600_000)
    assert run.statuses() == {"s": "succeeded", "w": "succeeded", "z": "waiting"}
    assert run.wake_at == START + 3 * 3_600_000


def test_a_waiting_run_is_ended_by_its_deadline() -> None:
    run = World("deadline: 30s\nsteps: {a: {approval: {message: well}}}").go()
    assert not run.owned
    assert run.wake().state.status == "failed"


# --- wait ------------------------------------------------------------------------------------------------------------


def test_waiting_releases_the_run_until_the_moment() -> None:
    run = a_step("wait: {for: 1h}")
    assert (run.owned, run.wake_at, run.state.waiting_for) == (False, START + 3_600_000, "timer")
    assert run.sleep(3_599_999).statuses()["a"] == "waiting"
    assert run.sleep(1).output("a") == {"due": START + 3_600_000}


def test_waiting_until_a_time() -> None:
    run = a_step("wait: {until: '2023-11-14T22:13:30Z'}")
    assert run.wake_at == START + 10_000
    assert run.wake().state.status == "succeeded"


@pytest.mark.parametrize(("options", "seconds"), [("for: '${{ inputs.t }}'", 90), ("for: '${{ inputs.t }}s'", 90), ("for: 1m30s", 90)])
def test_a_duration_may_be_computed(options: str, seconds: int) -> None:
    assert a_step(f"wait: {{{options}}}", {"t": 90}).wake_at == START + seconds * 1000


@pytest.mark.parametrize("options", ["for: 0s", "until: '2001-01-01T00:00:00+02:00'"])
def test_a_moment_that_is_over_is_not_waited_for(options: str) -> None:
    run = a_step(f"wait: {{{options}}}")
    assert run.told("a") == ["step.succeeded"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("for", "soon"),
        ("for", ""),
        ("for", -1),
        ("for", [1]),
        ("for", None),
        ("for", 1e300),
        ("until", "tomorrow"),
        ("until", "2027-01-01T00:00:00"),
        ("until", 12),
    ],
)
def test_text_that_is_no_time_fails_the_step(field: str, value: Any) -> None:
    run = a_step(f"wait: {{{field}: '${{{{ inputs.t }}}}'}}", {"t": value})
    assert run.error("a") == "expression_failed"
    assert run.state.error is not None
    assert "wait: " in run.state.error["message"]
