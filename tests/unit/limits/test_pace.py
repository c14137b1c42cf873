"""Paces in virtual time: what fits into a minute, and how long many take."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.limits.pace import BURST_SHARE, MARGIN, MINUTE, Pace


def run(pace: Pace, count: int, now: float, *, each: float = 1) -> list[float]:
    """When each of so many that all wait goes out, a clock at hand that is always right."""
    times = []
    for _ in range(count):
        now = max(now, pace.ready_at)
        pace.take(each, now)
        times.append(now)
    return times


def most_in_a_minute(times: list[float]) -> int:
    """In any 60 seconds, their end not included."""
    begin, most = 0, 0
    for end, time in enumerate(times):
        while time - times[begin] >= MINUTE:
            begin += 1
        most = max(most, end - begin + 1)
    return most


@pytest.mark.parametrize(("limit", "count", "seconds"), [(3000, 10_000, 200), (60, 120, 120), (600, 6000, 600), (100_000, 10_000, 6), (1, 3, 120)])
def test_many_take_as_long_as_they_must(limit: int, count: int, seconds: float) -> None:
    times = run(Pace(limit, 1000.0), count, 1000.0)
    assert times[-1] - 1000.0 == pytest.approx(seconds, rel=0.02)
    assert most_in_a_minute(times) <= limit


def test_ten_thousand_at_three_thousand_a_minute_while_others_hold_the_process_up() -> None:
    """A timer that is late by up to 200 ms costs nothing: what was missed is caught up on, and still no minute has too many."""
    pace, now, times = Pace(3000, 0.0), 0.0, []
    late = itertools.cycle([0.0, 0.2, 0.01, 0.05])
    while len(times) < 10_000:
        now = max(now, pace.ready_at) + next(late)
        while pace.ready_at <= now and len(times) < 10_000:
            pace.take(1, now)
            times.append(now)
    assert times[-1] == pytest.approx(200, rel=0.02)
    assert most_in_a_minute(times) <= 3000


@given(st.integers(1, 5000), st.lists(st.floats(0, 200), min_size=1, max_size=300))
def test_no_minute_has_more_than_the_limit(limit: int, pauses: list[float]) -> None:
    """Whenever they come, with whatever gaps between them."""
    pace, now, times = Pace(limit, 5.0), 5.0, []
    for pause in pauses:
        now += pause if pause > 1 else pause / 1000
        if pace.ready_at <= now:
            pace.take(1, now)
            times.append(now)
    assert most_in_a_minute(times) <= limit


@given(st.integers(1000, 200_000), st.lists(st.tuples(st.floats(0, 5), st.integers(1, 20_000)), min_size=1, max_size=200))
def test_tokens_of_a_minute_exceed_the_limit_by_one_request_at_most(limit: int, asks: list[tuple[float, int]]) -> None:
    pace, now, taken = Pace(limit, 0.0), 0.0, []
    for pause, tokens in asks:
        now = max(now + pause, pace.ready_at)
        pace.take(tokens, now)
        taken.append((now, tokens))
    largest = max(tokens for _, tokens in taken)
    for start, _ in taken:
        assert sum(tokens for at, tokens in taken if start <= at < start + MINUTE) <= limit + largest


def test_what_may_go_at_once_is_a_quarter_of_a_second() -> None:
    pace = Pace(4800, 0.0)
    assert pace.ready_at == 0.0
    pace.take(1, 0.0)
    assert pace.ready_at > 0.0, "a new one begins without a burst"
    burst = [time for time in run(pace, 100, 30.0) if time == pytest.approx(30.0, abs=1e-9)]
    assert len(burst) == 4800 // BURST_SHARE


@pytest.mark.parametrize(("left", "expected"), [(0, 1 + MARGIN), (1, 0.0), (5, 0.0)])
def test_what_the_other_side_has_left(left: int, expected: float) -> None:
    pace = Pace(60, 0.0)
    pace.left(left, 10.0)
    assert pace.ready_at - 10.0 == pytest.approx(expected, abs=1e-6) or (expected == 0.0 and pace.ready_at <= 10.0)


def test_a_correction_moves_the_next_one() -> None:
    pace = Pace(6000, 0.0)
    pace.take(1000, 0.0)
    before = pace.ready_at
    pace.correct(500)
    assert pace.ready_at - before == pytest.approx(5.0, rel=0.01)
    pace.correct(-500)
    assert pace.ready_at == pytest.approx(before)


def test_another_limit_keeps_what_is_owed() -> None:
    pace = Pace(60, 0.0)
    pace.take(1, 0.0)
    pace.take(1, 0.0)
    assert pace.ready_at == pytest.approx(2 + 2 * MARGIN)
    pace.change(120, 0.0)
    assert pace.ready_at == pytest.approx(1 + MARGIN)


def test_after_a_rest_nothing_has_piled_up() -> None:
    pace = Pace(4800, 0.0)
    pace.rest(20.0)
    assert len([time for time in run(pace, 10, 0.0) if time == 20.0]) == 1
