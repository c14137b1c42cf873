"""Runs made from runs: what has finished is taken over, the rest is done again."""

from runtime.engine.events import Event, Kind
from runtime.engine.fork import ITEMS_PER_EVENT, downstream, failed_steps, fork_events
from tests.unit.engine.driver import START, Result, World, planned

PY = "python: {function: 'm:f'}"
HEAD = "inputs: {l: {}}\n"


def made_from(run: World, restart: set[str] | None = None, *, keep_items: bool = True, source: str | None = None) -> World:
    """A run that takes over `run`: a retry, or a fork that starts again at `restart`."""
    plan = run.plan if source is None else planned(source)
    again = failed_steps(run.state) if restart is None else frozenset(restart)
    events = fork_events(plan, run.state, restart=again, at=START, keep_items=keep_items)
    return World(plan, run.whole(run.state.inputs), reused=events)


CHAIN = """
steps:
  a: {PY}
  b: {ONCE, needs: [a]}
  c: {PY, needs: [b]}
  d: {PY, needs: [a]}
finally:
  z: {PY}
"""


def failed_chain() -> World:
    run = World(CHAIN).go().finish("a", "A").finish("d", "D").fail("b").finish("z")
    assert run.state.status == "failed"
    return run


def test_a_retry_does_only_what_did_not_succeed() -> None:
    retry = made_from(failed_chain()).go()
    assert [(event.seq, event.epoch, event.kind, event.step) for event in retry.events(Kind.STEP_REUSED)] == [
        (2, 0, "step.reused", "a"),
        (3, 0, "step.reused", "d"),
    ]
    assert list(retry.flights) == [("b", None)]
    assert (retry.state.steps["a"].cached, retry.output("a")) == (True, "A")
    assert retry.play().state.status == "succeeded"
    assert retry.statuses()["z"] == "succeeded", "finally runs anew"


def test_a_fork_does_a_step_and_what_depends_on_it_again() -> None:
    run = World(CHAIN).play()
    fork = made_from(run, {"b"}).go()
    assert fork.statuses() == {"a": "succeeded", "b": "running", "c": "pending", "d": "succeeded", "z": "pending"}
    assert fork.play().state.status == "succeeded"


def test_what_depends_on_a_step() -> None:
    assert downstream(planned(CHAIN), ("b",)) == {"b", "c"}
    assert downstream(planned(CHAIN), ("a", "d")) == {"a", "b", "c", "d"}


def test_nothing_to_do_again() -> None:
    fork = made_from(World(CHAIN).play(), set()).go()
    assert list(fork.flights) == [("z", None)]
    assert fork.finish("z").state.output == {"c": "c", "d": "d"}


MAP = f"{HEAD}steps: {{m: {{{PY}, map: {{over: inputs.l, concurrency: 3}}, retry: {{max_attempts: 1}}}}, n: {{set: {{o: '${{{{ steps.m.output }}}}'}}}}}}"


def test_a_retry_keeps_the_items_that_had_succeeded() -> None:
    run = World(MAP, {"l": [0, 1, 2, 3, 4]}).go().finish("m", "one", index=1).finish("m", "three", index=3).fail("m", index=0)
    retry = made_from(run).go()
    assert sorted(retry.flights) == [("m", 0), ("m", 2), ("m", 4)]
    for index in (0, 2, 4):
        retry.finish("m", index, index=index)
    assert retry.output("m") == [0, "one", 2, "three", 4]
    assert retry.state.status == "succeeded"


def test_a_fork_may_leave_the_items_behind() -> None:
    run = World(MAP, {"l": [0, 1]}).go().finish("m", "one", index=1).fail("m", index=0)
    assert len(made_from(run, {"m"}, keep_items=False).go().flights) == 2


def test_a_finished_map_is_taken_over_with_its_bearable_failures() -> None:
    source = MAP.replace("concurrency: 3", "max_failures: 1")
    run = World(source, {"l": [0, 1, 2]}).go().fail("m", index=1).finish("m", "0", index=0).finish("m", "2", index=2)
    fork = made_from(run, {"n"}).go()
    assert fork.state.status == "succeeded"
    assert fork.output("n") == {"o": ["0", None, "2"]}
    assert fork.state.steps["m"].cached
    assert not fork.commands


def test_many_items_are_taken_over_in_several_events() -> None:
    run = World(MAP, {"l": list(range(ITEMS_PER_EVENT + 1))}, checked=False).play(lambda flight, value: value)
    fork = made_from(run, {"n"})
    assert [len((event.body or {})["done"]) for event in fork.events(Kind.ITEMS_REUSED)] == [ITEMS_PER_EVENT, 1]
    assert fork.go().output("m") == list(range(ITEMS_PER_EVENT + 1))


def test_a_map_over_another_list_than_before_says_so() -> None:
    run = World(MAP, {"l": [0, 1]}).go().finish("m", "one", index=1).fail("m", index=0)
    events = fork_events(run.plan, run.state, restart=failed_steps(run.state), at=START)
    fork = World(run.plan, {"l": [0, 1, 2]}, reused=events).go()
    assert fork.error("m") == "expression_failed"
    assert fork.state.error is not None
    assert "taken over" in fork.state.error["message"]


def test_items_are_not_kept_when_what_the_map_needs_is_done_again() -> None:
    source = "steps: {a: {ONCE, on_error: continue}, b: {PY}, m: {ONCE, map: {over: '[1, 2]'}, needs: [a]}}"
    run = World(source).go().fail("a").finish("m", "x", index=0).fail("m", index=1)
    retry = made_from(run).go()
    assert retry.statuses() == {"a": "running", "b": "running", "m": "pending"}
    assert retry.play().output("m") == ["m", "m"]


def test_what_a_decision_skipped_is_skipped_again() -> None:
    source = """
steps:
  p: {switch: [{when: 'false', then: y}, {else: x}]}
  x: {set: {}}
  y: {set: {}}
  w: {set: {}, when: 'false'}
  j: {PY, needs: [x, y, w], join: any}
  m: {ONCE, map: {over: '[1, 2]'}, needs: [x, y], join: any}
"""
    run = World(source).go().finish("j").finish("m", "x", index=0).fail("m", index=1)
    retry = made_from(run)
    assert retry.statuses() == {"p": "succeeded", "x": "succeeded", "y": "skipped", "w": "skipped", "j": "succeeded", "m": "running"}
    assert retry.state.steps["y"].reason == "no step chose it"
    assert list(retry.go().flights) == [("m", 1)]


def test_a_step_that_was_skipped_because_of_a_failure_is_looked_at_again() -> None:
    source = f"steps: {{a: {{{PY}, retry: {{max_attempts: 1}}, on_error: {{goto: g}}}}, b: {{set: {{}}, needs: [a]}}, g: {{{PY}, retry: {{max_attempts: 1}}}}}}"
    run = World(source).go().fail("a").fail("g")
    assert run.statuses() == {"a": "failed", "b": "skipped", "g": "failed"}
    assert made_from(run).go().finish("a").statuses() == {"a": "succeeded", "b": "succeeded", "g": "skipped"}


def test_a_run_that_is_still_going_on_can_be_forked() -> None:
    run = World(CHAIN).go().finish("a", "A")
    fork = made_from(run).go()
    assert sorted(fork.flights) == [("b", None), ("d", None)]
    assert sorted(run.flights) == [("b", None), ("d", None)], "the source is not touched"


def test_a_step_that_is_new_or_of_another_shape_is_done_with_what_depends_on_it() -> None:
    before = f"steps: {{a: {{{PY}}}, b: {{{PY}, needs: [a]}}, m: {{{PY}, map: {{over: '[1]'}}}}, k: {{{PY}}}, gone: {{{PY}}}}}"
    after = f"steps: {{a: {{{PY}}}, new: {{{PY}}}, b: {{{PY}, needs: [a, new]}}, m: {{{PY}}}, k: {{{PY}, map: {{over: '[1]'}}}}, last: {{{PY}, needs: [k]}}}}"
    run = World(before).play()
    fork = made_from(run, {"gone", "m"}, source=after).go()
    assert fork.statuses() == {"a": "succeeded", "new": "running", "b": "pending", "m": "running", "k": "running", "last": "pending"}
    assert fork.play().state.status == "succeeded"


def test_a_step_that_never_ran_and_is_not_asked_for_runs_all_the_same() -> None:
    run = World(CHAIN).go().finish("a", "A")
    assert made_from(run, {"d"}).go().statuses()["b"] == "running"


def test_a_restarted_step_without_items_has_none_to_keep() -> None:
    plan = planned(MAP)
    run = World(plan, {"l": [0]})
    assert fork_events(plan, run.state, restart=frozenset({"m"}), at=START) == []


def test_a_retry_of_a_retry() -> None:
    run = World(MAP, {"l": [0, 1, 2]}).go().finish("m", "one", index=1).fail("m", index=0)
    second = made_from(run).go().finish("m", "two", index=2).fail("m", index=0)
    third = made_from(second).go()
    assert list(third.flights) == [("m", 0)]
    assert third.finish("m", "zero", index=0).output("m") == ["zero", "one", "two"]


def test_results_for_the_source_do_not_fit_the_fork() -> None:
    fork = made_from(failed_chain()).go()
    fork.go(results=[Result("a", 1, output="late")])
    assert fork.output("a") == "A"
    assert isinstance(fork.journal[1], Event)
