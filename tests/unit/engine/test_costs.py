"""Bounds of one turn, and costs that grow with the work and not with its square: executed lines are counted, never seconds."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from runtime.engine.events import Kind
from runtime.engine.evolve import fold
from runtime.engine.fork import fork_events
from runtime.engine.turn import MAX_EVENTS, MAX_ITEMS
from tests.unit.engine.driver import START, Result, World, failure

PY = "python: {function: 'm:f'}"
SLACK = 1.5
"""Ten times the work may cost fifteen times as much (heaps, first-time costs); the square would be a hundred."""


class Count:
    lines = 0


@contextmanager
def counted() -> Iterator[Count]:
    """Counts the lines of the product that are executed; each round of a loop counts again."""
    count = Count()

    def on_line(_frame: Any, event: str, _argument: Any) -> Any:
        count.lines += event == "line"
        return on_line

    def on_call(frame: Any, _event: str, _argument: Any) -> Any:
        return on_line if "/runtime/" in frame.f_code.co_filename else None

    before = sys.gettrace()
    sys.settrace(on_call)
    try:
        yield count
    finally:
        sys.settrace(before)


def assert_linear(work: Callable[[int], Callable[[], Any]], small: int, large: int) -> None:
    """`work(n)` prepares, what it gives back is counted."""
    costs = []
    for size in (small, large):
        job = work(size)
        with counted() as count:
            job()
        costs.append(count.lines)
    assert costs[1] <= costs[0] * (large / small) * SLACK, f"{costs[0]} lines for {small}, {costs[1]} for {large}"


def quiet(source: str, inputs: Any = None) -> World:
    return World(source, inputs, checked=False)


def remote_map(size: int, options: str = "") -> World:
    return quiet(f"inputs: {{l: {{}}}}\nsteps: {{m: {{{PY}, map: {{over: inputs.l{options}}}}}}}", {"l": list(range(size))})


# --- the bounds of a turn --------------------------------------------------------------------------------------------


def test_a_turn_starts_a_bounded_number_of_items() -> None:
    run = remote_map(2 * MAX_ITEMS + 1, ", concurrency: 10000").go(once=True)
    assert len(run.flights) == MAX_ITEMS
    assert run.last is not None
    assert (run.last.more, run.last.release) == (True, False)
    assert len(run.go().flights) == 2 * MAX_ITEMS + 1


def test_a_turn_writes_a_bounded_number_of_events() -> None:
    run = quiet("steps: {s: {set: {i: '${{ iteration }}'}, loop: {max_iterations: 5000}}}").go(once=True)
    assert run.last is not None
    assert run.last.more
    assert MAX_EVENTS <= len(run.last.events) < MAX_EVENTS + 10
    assert run.go().output("s") == {"i": 4999}
    assert run.turns == 3


def test_a_crash_between_two_turns_loses_nothing() -> None:
    run = quiet("steps: {s: {set: {i: '${{ iteration }}'}, loop: {max_iterations: 5000}}}").go(once=True).crash().go()
    assert run.state.status == "succeeded"
    run = remote_map(2 * MAX_ITEMS, ", concurrency: 10000").go(once=True).crash().go()
    assert len(run.flights) == 2 * MAX_ITEMS
    assert run.play().state.status == "succeeded"


def test_a_pure_map_larger_than_a_turn() -> None:
    source = "inputs: {l: {}}\nsteps: {m: {set: {v: '${{ item }}'}, map: {over: inputs.l, concurrency: 100000}}}"
    run = quiet(source, {"l": list(range(MAX_ITEMS + 5))}).go()
    assert run.output("m")[-1] == {"v": MAX_ITEMS + 4}
    assert run.turns == 2


# --- growth ----------------------------------------------------------------------------------------------------------


def test_a_map_whose_results_come_one_by_one() -> None:
    def work(size: int) -> Callable[[], Any]:
        run = remote_map(size, ", concurrency: 100").go()

        def one_by_one() -> None:
            while run.flights:
                run.finish("m", "x", index=next(iter(run.flights))[1])
            assert run.state.status == "succeeded"

        return one_by_one

    assert_linear(work, 200, 2000)


@pytest.mark.parametrize("concurrency", [1000, 10_000])
def test_a_map_whose_results_come_in_batches(concurrency: int) -> None:
    assert_linear(lambda size: lambda: remote_map(size, f", concurrency: {concurrency}").play(), 1000, 10_000)


def test_folding_a_map() -> None:
    def work(size: int) -> Callable[[], Any]:
        run = remote_map(size).play()
        return lambda: fold(run.plan, run.journal)

    assert_linear(work, 1000, 10_000)


def test_a_map_all_of_whose_items_are_retried() -> None:
    def work(size: int) -> Callable[[], Any]:
        run = remote_map(size).go()

        def all_again() -> None:
            run.go(results=[Result("m", 1, index=flight.index, error=failure()) for flight in list(run.flights.values())])
            run.play()
            assert run.state.status == "succeeded"

        return all_again

    assert_linear(work, 500, 5000)


def test_a_map_of_sets_that_read_a_long_list() -> None:
    source = "inputs: {l: {}}\nsteps: {m: {set: {v: '${{ inputs.l[0] }}'}, map: {over: inputs.l}}}"
    assert_linear(lambda size: lambda: quiet(source, {"l": list(range(size))}).go(), 500, 5000)


def test_a_retry_that_keeps_most_items() -> None:
    """The first half is missing, the second is kept: finding the next item must not walk over the kept ones each time."""

    def work(size: int) -> Callable[[], Any]:
        run = remote_map(size, ", concurrency: 10000").go()
        run.go(results=[Result("m", 1, index=index, output="x") for index in range(size // 2, size)])
        events = fork_events(run.plan, run.state, restart=frozenset({"m"}), at=START)

        def one_by_one() -> None:
            fork = World(run.plan, run.state.inputs, reused=events, checked=False).go()
            while fork.flights:
                fork.finish("m", "y", index=next(iter(fork.flights))[1])
            assert fork.state.status == "succeeded"

        return one_by_one

    assert_linear(work, 200, 2000)


def chain(size: int) -> str:
    steps = [f"  s{at}: {{{PY}, needs: [{f's{at - 1}' if at else ''}]}}" for at in range(size)]
    return "steps:\n" + "\n".join(steps)


def fan(size: int) -> str:
    steps = [f"  s{at}: {{{PY}}}" for at in range(size)]
    return "steps:\n" + "\n".join([*steps, f"  all: {{{PY}, needs: [{', '.join(f's{at}' for at in range(size))}]}}"])


def routed(size: int) -> str:
    steps = [f"  w{at}: {{{PY}}}\n  s{at}: {{switch: [{{when: 'false', then: t}}, {{else: n}}], needs: [w{at}]}}" for at in range(size)]
    return "steps:\n" + "\n".join([*steps, "  t: {set: {}}", "  n: {set: {}}"])


@pytest.mark.parametrize(("shape", "large"), [(chain, 900), (fan, 900), (routed, 450)])
def test_large_graphs(shape: Callable[[int], str], large: int) -> None:
    def work(size: int) -> Callable[[], Any]:
        run = quiet(shape(size)).go()

        def one_by_one() -> None:
            while run.flights:
                run.finish(next(iter(run.flights))[0])
            assert run.state.status == "succeeded"

        return one_by_one

    assert_linear(work, large // 10, large)


def test_a_long_loop_of_sets() -> None:
    source = "steps: {{s: {{set: {{i: '${{{{ iteration }}}}'}}, loop: {{max_iterations: {0}}}}}}}"
    assert_linear(lambda size: lambda: quiet(source.format(size)).go(), 1000, 10_000)


def test_many_signals_that_came_early() -> None:
    def work(size: int) -> Callable[[], Any]:
        run = quiet(f"steps: {{a: {{{PY}}}, s: {{signal: {{name: go}}, loop: {{max_iterations: {size}}}, needs: [a]}}}}").go()
        letters = [run.letter("signal", name="go", payload=number) for number in range(size)]

        def all_taken() -> None:
            run.go(messages=letters).finish("a")
            assert run.output("s") == size - 1

        return all_taken

    assert_linear(work, 500, 5000)


def test_the_journal_of_a_map_is_small() -> None:
    run = remote_map(10_000, ", concurrency: 10000").play()
    assert len(run.journal) < 30
    assert run.events(Kind.ITEMS_STARTED)[0].body == {"items": [[0, MAX_ITEMS - 1]], "attempt": 1}
