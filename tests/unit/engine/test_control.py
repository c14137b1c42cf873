"""Cancel, pause and resume at any time; crashes and what follows by `on_crash`; draining."""

import pytest

from runtime.engine.commands import StartItems, StartStep
from runtime.engine.events import Kind
from runtime.engine.retry import MAX_CRASHES
from tests.unit.engine.driver import START, Result, World

PY = "python: {function: 'm:f'}"
LONG = f"""
steps:
  a: {{{PY}}}
  b: {{wait: {{for: 1h}}, needs: [a]}}
finally:
  z: {{{PY}}}
"""


# --- cancel ----------------------------------------------------------------------------------------------------------


def test_cancel_of_a_queued_run() -> None:
    run = World(LONG)
    run.go(messages=[run.letter("cancel", reason="no need")])
    assert run.events(Kind.RUN_CANCELING)[0].body == {"reason": "no need"}
    assert run.statuses() == {"a": "pending", "b": "pending", "z": "running"}
    assert run.finish("z").state.status == "canceled"


@pytest.mark.parametrize("phase", ["running", "retrying", "waiting", "paused", "finally"])
def test_cancel_in_every_phase(phase: str) -> None:
    run = World(LONG).go()
    if phase == "retrying":
        run.fail("a")
    elif phase == "waiting":
        run.finish("a")
    elif phase == "paused":
        run.send("pause")
    elif phase == "finally":
        run.finish("a").wake()
    run.send("cancel")
    assert run.state.status == "canceling"
    assert list(run.flights) == [("z", None)], "only finally goes on"
    assert run.finish("z", "done").state.status == "canceled"
    assert (run.state.output, run.state.error) == (None, None)


def test_a_second_cancel_and_a_pause_change_nothing() -> None:
    run = World(LONG).go().send("cancel").send("cancel").send("pause").send("resume")
    assert len(run.events(Kind.RUN_CANCELING)) == 1
    assert run.finish("z").state.status == "canceled"
    assert run.send("cancel").last.applied == ["m5"]  # type: ignore[union-attr]  # a turn was taken


def test_cancel_wins_over_a_success_of_the_same_turn() -> None:
    run = World(f"steps: {{a: {{{PY}}}}}").go()
    run.go(results=[Result("a", 1, output=1)], messages=[run.letter("cancel")])
    assert run.statuses() == {"a": "succeeded"}
    assert run.state.status == "canceled"


def test_cancel_wins_over_a_failure() -> None:
    run = World(f"steps: {{a: {{{PY}, retry: {{max_attempts: 1}}}}}}\nfinally: {{z: {{{PY}}}}}").go().fail("a").send("cancel").finish("z")
    assert run.state.status == "canceled"


# --- pause -----------------------------------------------------------------------------------------------------------


def test_a_paused_run_takes_results_and_starts_nothing() -> None:
    run = World(f"steps: {{a: {{{PY}}}, b: {{{PY}, needs: [a]}}}}").go().send("pause")
    assert run.owned, "something is in flight"
    run.finish("a", 1)
    assert (run.state.status, run.statuses()) == ("paused", {"a": "succeeded", "b": "pending"})
    assert (run.owned, run.wake_at) == (False, None)
    run.send("resume")
    assert run.statuses()["b"] == "running"
    assert run.finish("b").state.status == "succeeded"


def test_failures_retries_items_signals_and_answers_arrive_while_paused() -> None:
    source = f"""
inputs: {{l: {{}}}}
steps:
  r: {{{PY}, retry: {{initial: 10s, jitter: 0}}}}
  m: {{{PY}, map: {{over: inputs.l, concurrency: 1}}}}
  s: {{signal: {{name: go}}}}
  q: {{approval: {{message: m}}}}
  k: {{workflow: {{name: other}}}}
"""
    run = World(source, {"l": [1, 2]}).go().send("pause")
    run.fail("r").finish("m", "one", index=0).send("signal", name="go", payload=1).decide("q").child_ends("k", "kid")
    assert run.statuses() == {"r": "retrying", "m": "running", "s": "waiting", "q": "succeeded", "k": "succeeded"}
    assert (run.state.status, run.flights) == ("paused", {})
    run.sleep(60_000)
    assert not run.flights, "overdue, but the run is paused"
    run.send("resume")
    assert sorted(run.flights) == [("m", 1), ("r", None)]
    assert run.output("s") == 1
    assert run.finish("r").finish("m", "two", index=1).state.status == "succeeded"


def test_timers_that_fell_due_ring_after_the_pause() -> None:
    run = World("steps: {a: {wait: {for: 1h}}, b: {approval: {message: m, expires: 2h, on_expiry: approve}}}").go().send("pause")
    run.sleep(3 * 3_600_000)
    assert run.statuses() == {"a": "waiting", "b": "waiting"}
    assert run.send("resume").state.status == "succeeded"


def test_a_deadline_that_passed_in_a_pause_rings_after_it() -> None:
    run = World(f"deadline: 1h\nsteps: {{a: {{{PY}}}}}").go().send("pause")
    run.sleep(3_600_000)
    assert run.state.status == "paused"
    assert run.send("resume").state.status == "failed"


def test_a_run_paused_before_it_began_begins_when_it_is_resumed() -> None:
    run = World(f"deadline: 1h\nsteps: {{a: {{{PY}}}}}")
    run.go(messages=[run.letter("pause")])
    assert (run.state.status, run.state.started_at, run.flights) == ("paused", None, {})
    run.now += 5000
    run.send("resume")
    assert run.state.started_at == START + 5000
    assert run.wake_at == START + 5000 + 3_600_000, "its deadline counts from there"
    assert run.finish("a").state.status == "succeeded"


def test_a_loop_paused_between_two_iterations_has_nothing_in_flight() -> None:
    run = World("steps: {a: {PY, loop: {max_iterations: 2}}}").go().send("pause").finish("a", 1)
    assert (run.state.status, run.owned, run.flights) == ("paused", False, {})
    assert run.send("resume").finish("a", 2).output("a") == 2


def test_pausing_twice_and_resuming_what_is_not_paused() -> None:
    run = World(f"steps: {{a: {{{PY}}}}}").go().send("resume").send("pause").send("pause")
    assert len(run.events(Kind.RUN_PAUSED)) == 1
    assert not run.events(Kind.RUN_RESUMED)


def test_a_failure_while_paused_ends_the_run_after_the_pause() -> None:
    run = World(f"steps: {{a: {{{PY}, retry: {{max_attempts: 1}}}}, b: {{{PY}}}}}").go().send("pause").fail("a")
    assert run.state.status == "paused"
    assert run.statuses()["b"] == "running"
    assert run.send("resume").state.status == "failed"


# --- crashes ---------------------------------------------------------------------------------------------------------


def test_a_lost_attempt_is_started_again_and_the_old_one_counts_no_more() -> None:
    run = World(f"steps: {{a: {{{PY}}}, b: {{{PY}, needs: [a]}}}}").go().crash().go()
    assert [(command.attempt, command.recovered) for command in run.given(StartStep, "a")] == [(1, False), (2, True)]
    run.go(results=run.stale)
    assert run.statuses()["a"] == "running"
    assert run.finish("a", "second").output("a") == "second"
    assert run.crash().go().finish("b").state.status == "succeeded"
    assert run.told("a") == ["step.started", "step.started", "step.succeeded"], "what had finished is not done again"


def test_owners_that_die_end_no_step() -> None:
    run = World(f"steps: {{a: {{{PY}, retry: {{max_attempts: 1}}}}}}").go()
    for _ in range(MAX_CRASHES + 3):
        run.crash().go()
    assert run.finish("a").state.status == "succeeded"


def test_fail_on_crash() -> None:
    run = World(f"steps: {{a: {{{PY}, on_crash: fail}}}}").go().crash().go()
    assert run.error("a") == "crashed"
    run = World(f"defaults: {{on_crash: fail}}\nsteps: {{a: {{{PY}}}}}").go().fail("a", "executor_lost")
    assert run.error("a") == "crashed"


@pytest.mark.parametrize("how", ["owner", "executor"])
def test_ask_on_crash_and_try_again(how: str) -> None:
    run = World(f"steps: {{a: {{{PY}, on_crash: ask}}}}").go()
    _ = run.crash().go() if how == "owner" else run.fail("a", "executor_lost")
    assert (run.state.status, run.state.waiting_for, run.owned) == ("waiting", "decision", False)
    run.go(results=run.stale)
    assert run.statuses()["a"] == "waiting", "a result of the lost attempt is not believed behind the person's back"
    run.send("decision", step="a", action="retry")
    assert run.flights["a", None].attempt == 2
    assert run.finish("a").state.status == "succeeded"


def test_ask_on_crash_and_believe_it_happened() -> None:
    run = World(f"steps: {{a: {{{PY}, on_crash: ask}}}}").go().crash().send("decision", step="a", action="succeed", output="sent")
    assert run.output("a") is None, "decided before the new owner had asked: nothing was open"
    assert run.send("decision", step="a", action="succeed", output="sent").output("a") == "sent"
    assert run.state.status == "succeeded"


def test_ask_on_crash_and_give_up() -> None:
    run = World(f"steps: {{a: {{{PY}, on_crash: ask}}}}").go().crash().go().send("decision", step="a", action="fail")
    assert run.error("a") == "crashed"
    head = run.state.head
    assert run.send("decision", step="a", action="retry").send("decision", step="nobody", action="retry").state.head == head


def test_a_decision_within_a_loop_names_its_iteration() -> None:
    run = World(f"steps: {{a: {{{PY}, on_crash: ask, loop: {{max_iterations: 2}}}}}}").go().finish("a", 1).crash().go()
    run.send("decision", step="a#1", action="succeed", output=2)
    assert run.output("a") == 2
    assert run.state.status == "succeeded"


def test_lost_items_are_started_again_each_with_its_next_attempt() -> None:
    run = World(f"inputs: {{l: {{}}}}\nsteps: {{m: {{{PY}, map: {{over: inputs.l}}, retry: {{jitter: 0}}}}}}", {"l": ["a", "b", "c", "d"]}).go()
    run.fail("m", index=3).sleep(1000).finish("m", "B", index=1).crash().go()
    assert run.given(StartItems, "m")[-1].items == ((0, 2, "a"), (2, 2, "c"), (3, 3, "d"))
    assert run.given(StartItems, "m")[-1].recovered
    run.go(results=run.stale)
    assert not run.state.ended
    assert run.finish("m", "A", index=0).finish("m", "C", index=2).finish("m", "D", index=3).output("m") == ["A", "B", "C", "D"]


@pytest.mark.parametrize("on_crash", ["fail", "ask"])
def test_lost_items_whose_effect_is_unknown_have_failed(on_crash: str) -> None:
    source = f"inputs: {{l: {{}}}}\nsteps: {{m: {{{PY}, map: {{over: inputs.l, max_failures: 2}}, on_crash: {on_crash}}}}}"
    run = World(source, {"l": [1, 2, 3]}).go().finish("m", 1, index=0).fail("m", "executor_lost", index=1).crash().go()
    items = run.state.steps["m"].items
    assert items is not None
    assert {index: failed["code"] for index, failed in items.failed.items()} == {1: "crashed", 2: "crashed"}
    assert run.output("m") == [1, None, None]


def test_a_crash_with_no_item_in_flight() -> None:
    for on_crash in ("fail", "retry"):
        source = (
            f"inputs: {{l: {{}}}}\nsteps: {{m: {{{PY}, map: {{over: inputs.l, max_failures: 1}}, on_crash: {on_crash}, retry: {{initial: 1m, jitter: 0}}}}}}"
        )
        run = World(source, {"l": [1]}).go().fail("m", index=0).crash().go()
        assert run.wake().finish("m", "x", index=0).output("m") == ["x"]


def test_what_is_about_to_be_stopped_is_not_started_again() -> None:
    run = World(LONG).go().crash()
    run.go(messages=[run.letter("cancel")])
    assert len(run.given(StartStep, "a")) == 1
    assert run.statuses()["a"] == "canceled"


def test_a_crash_in_finally_after_a_failure() -> None:
    source = """
steps: {a: {ONCE}}
finally:
  z: {PY}
  m: {PY, map: {over: '[1, 2]', concurrency: 1}}
  y: {set: {}, needs: [z]}
"""
    run = World(source).go().fail("a").crash().go()
    assert sorted(run.flights) == [("m", 0), ("z", None)]
    run.finish("m", index=0).crash().go()
    assert sorted(run.flights) == [("m", 1), ("z", None)]
    assert run.finish("m", index=1).finish("z").state.status == "failed"


def test_a_loop_in_finally_goes_on_after_a_crash_between_two_turns() -> None:
    """What the frontier holds of `finally` must survive the second look at a run that is being wound up."""
    run = World("steps: {a: {set: {x: '${{ [1][5] }}'}}}\nfinally: {z: {set: {i: '${{ iteration }}'}, loop: {max_iterations: 5000}}}").go(once=True)
    assert run.statuses() == {"a": "failed", "z": "running"}
    assert run.crash().go().statuses()["z"] == "succeeded"
    assert run.state.status == "failed"


def test_a_crash_of_a_paused_run_finishes_what_was_in_flight() -> None:
    run = World(f"steps: {{a: {{{PY}}}, b: {{{PY}, needs: [a]}}}}").go().send("pause").crash().go()
    assert (run.state.status, list(run.flights)) == ("paused", [("a", None)])
    assert run.finish("a").statuses()["b"] == "pending"


def test_what_a_paused_run_lost_after_it_failed_is_given_up() -> None:
    """It would be stopped anyway when the run is resumed; until then it must not count as being in flight."""
    run = World("steps: {a: {PY, on_crash: fail}, b: {PY}}").go().send("pause").crash().go()
    assert run.statuses() == {"a": "failed", "b": "canceled"}
    assert (run.state.status, run.owned) == ("paused", False)
    assert run.send("resume").state.status == "failed"


def test_calls_of_an_agent_are_handed_to_the_next_attempt() -> None:
    run = World("steps: {a: {agent: {prompt: hi}}, m: {agent: {prompt: '${{ item }}'}, map: {over: '[1, 2]'}}}").go()
    call, other = {"name": "chat", "n": 1, "result": "x"}, {"name": "chat", "n": 1, "result": "y", "index": 1}
    run.record("a", call).record("m", other)
    run.crash().go()
    assert run.given(StartStep, "a")[-1].calls == (call,)
    assert run.given(StartItems, "m")[-1].calls == (other,)
    run.finish("m", index=1)
    assert run.state.steps["m"].calls == {}, "kept only as long as they may be needed"
    run.finish("a")
    assert run.state.steps["a"].calls == {}


# --- draining --------------------------------------------------------------------------------------------------------


def test_a_draining_owner_records_and_decides_nothing() -> None:
    run = World(f"steps: {{a: {{{PY}}}, b: {{{PY}, needs: [a]}}}}").go()
    run.go(results=[Result("a", 1, output=1)], messages=[run.letter("signal", name="x")], hold=True)
    assert run.statuses() == {"a": "succeeded", "b": "pending"}
    assert run.crash().go().finish("b").state.status == "succeeded"
