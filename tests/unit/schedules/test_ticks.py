"""The arithmetic of ticks: days of 23 and 25 hours as tables, everything else as properties."""

from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.schedules.spec import parse_moment
from runtime.schedules.ticks import Timing, due_at, next_tick, planned, ticks

NEW_YORK = "America/New_York"
HOUR, DAY = 3_600_000, 86_400_000


def shown(timing: Timing, after: str, count: int) -> list[str]:
    """The next ticks as the clock on the wall shows them, with their offset from UTC."""
    found = islice(ticks(timing, parse_moment(after)), count)
    return [datetime.fromtimestamp(tick / 1000, ZoneInfo(timing.timezone)).strftime("%m-%d %H:%M:%S %z") for tick in found]


@pytest.mark.parametrize(
    ("cron", "after", "expected"),
    [
        # The clock goes back at 02:00 on 2026-11-01: 01:00 to 02:00 comes twice.
        ("30 1 * * *", "2026-10-31T12:00:00-04:00", ["11-01 01:30:00 -0400", "11-02 01:30:00 -0500"]),
        ("30 1 * * *", "2026-11-01T01:10:00-05:00", ["11-02 01:30:00 -0500"]),
        (
            "*/30 * * * *",
            "2026-11-01T00:40:00-04:00",
            ["11-01 01:00:00 -0400", "11-01 01:30:00 -0400", "11-01 01:00:00 -0500", "11-01 01:30:00 -0500", "11-01 02:00:00 -0500"],
        ),
        # It goes forward at 02:00 on 2026-03-08: 02:00 to 03:00 does not come.
        ("30 2 * * *", "2026-03-07T12:00:00-05:00", ["03-08 03:00:00 -0400", "03-09 02:30:00 -0400"]),
        ("0,30 2,3 * * *", "2026-03-08T01:00:00-05:00", ["03-08 03:00:00 -0400", "03-08 03:30:00 -0400", "03-09 02:00:00 -0400"]),
        ("*/30 * * * *", "2026-03-08T01:20:00-05:00", ["03-08 01:30:00 -0500", "03-08 03:00:00 -0400", "03-08 03:30:00 -0400"]),
        # Day of the month or day of the week, as cron has it; the second Monday; the last day; seconds.
        ("0 0 13 * 5", "2026-11-01T00:00:00-04:00", ["11-06 00:00:00 -0500", "11-13 00:00:00 -0500", "11-20 00:00:00 -0500"]),
        ("0 0 * * MON#2", "2026-11-01T00:00:00-04:00", ["11-09 00:00:00 -0500", "12-14 00:00:00 -0500"]),
        ("0 0 L * *", "2026-02-01T00:00:00-05:00", ["02-28 00:00:00 -0500", "03-31 00:00:00 -0400"]),
        ("*/20 0 0 1 1 *", "2026-01-01T00:00:00-05:00", ["01-01 00:00:20 -0500", "01-01 00:00:40 -0500", "01-01 00:00:00 -0500"]),
        ("@monthly", "2026-01-15T00:00:00-05:00", ["02-01 00:00:00 -0500"]),
    ],
)
def test_the_wall_clock_is_followed_as_cron_does(cron, after, expected):
    assert shown(Timing((cron,), timezone=NEW_YORK), after, len(expected)) == expected


def test_several_rules_tick_together_once():
    timing = Timing(("0 * * * *", "*/30 * * * *"), interval=HOUR)
    start = parse_moment("2026-01-01T00:00:00Z")
    assert list(islice(ticks(timing, start), 3)) == [start + HOUR // 2, start + HOUR, start + HOUR * 3 // 2]


def test_an_interval_counts_from_its_start_and_does_not_know_summer():
    start = parse_moment("2026-03-07T09:00:00-05:00")
    timing = Timing(interval=DAY, timezone=NEW_YORK, start_at=start, end_at=start + 2 * DAY)
    assert list(ticks(timing, 0)) == [start, start + DAY, start + 2 * DAY]
    assert shown(timing, "2026-03-07T00:00:00Z", 2) == ["03-07 09:00:00 -0500", "03-08 10:00:00 -0400"]


def test_without_a_start_an_interval_counts_from_the_epoch():
    assert next_tick(Timing(interval=DAY), 5 * DAY + 17) == 6 * DAY


def test_start_and_end_are_inside():
    start = parse_moment("2026-01-01T09:00:00Z")
    timing = Timing(("0 9 * * *",), start_at=start, end_at=start + DAY)
    assert list(ticks(timing, 0)) == [start, start + DAY]
    assert planned(timing, "s", start + DAY) == (None, None)


def test_what_never_comes_again_ends():
    assert next_tick(Timing(("0 0 29 2 *",), end_at=parse_moment("2027-01-01T00:00:00Z")), parse_moment("2026-01-01T00:00:00Z")) is None


FIELDS = st.tuples(
    st.sampled_from(["*", "*/7", "0", "30", "0,30", "15-45/10", "59"]),
    st.sampled_from(["*", "*/3", "0", "1", "2", "1-3", "2,3", "23"]),
    st.sampled_from(["*", "1", "13", "L", "25-31"]),
    st.sampled_from(["*", "3", "10,11", "*/2"]),
    st.sampled_from(["*", "1-5", "0", "SUN#1", "5L"]),
).map(" ".join)
SIX = st.tuples(st.sampled_from(["0", "*/20", "59"]), FIELDS).map(" ".join)
TIMINGS = st.builds(
    Timing,
    cron=st.lists(FIELDS | SIX, max_size=3).map(tuple),
    interval=st.none() | st.integers(1000, 10 * DAY),
    timezone=st.sampled_from(["UTC", NEW_YORK, "Europe/Berlin", "Africa/Cairo", "America/Havana", "Asia/Kathmandu", "Pacific/Apia"]),
    start_at=st.none() | st.integers(0, 2**41),
    end_at=st.none() | st.integers(2**40, 2**41),
    jitter=st.integers(0, DAY),
)
# Most of them near a day on which some clock is changed.
CHANGES = [
    datetime(2026, 3, 8, 6, tzinfo=UTC),
    datetime(2026, 3, 29, 0, tzinfo=UTC),
    datetime(2026, 11, 1, 5, tzinfo=UTC),
    datetime(2026, 4, 23, 21, tzinfo=UTC),
]
MOMENTS = st.builds(lambda day, ms: round((day + timedelta(milliseconds=ms)).timestamp() * 1000), st.sampled_from(CHANGES), st.integers(-DAY, DAY))


@given(TIMINGS, MOMENTS)
def test_ticks_strictly_increase_and_stay_inside(timing, after):
    found = list(islice(ticks(timing, after), 20))
    assert all(early < late for early, late in pairwise([after, *found]))
    assert all((timing.start_at or 0) <= tick <= (timing.end_at or tick) for tick in found)


@given(TIMINGS, MOMENTS)
def test_starting_again_from_a_tick_leads_to_the_same_ones(timing, after):
    found = list(islice(ticks(timing, after), 12))
    for early, late in pairwise(found):
        assert next_tick(timing, early) == late


@given(TIMINGS, MOMENTS)
def test_nothing_is_due_early_or_out_of_order(timing, after):
    found = list(islice(ticks(timing, after), 12))
    dues = [due_at(timing, "s", tick, late) for tick, late in pairwise(found)]
    for due, (tick, late) in zip(dues, pairwise(found), strict=True):
        assert tick <= due < late
        assert due - tick <= timing.jitter
        assert due == due_at(timing, "s", tick, late)


def test_jitter_spreads_schedules_and_ticks():
    timing = Timing(interval=HOUR, jitter=600_000)
    by_schedule = {due_at(timing, f"s{n}", HOUR, 2 * HOUR) for n in range(50)}
    by_tick = {due_at(timing, "s", n * HOUR, (n + 1) * HOUR) - n * HOUR for n in range(50)}
    assert len(by_schedule) > 45
    assert len(by_tick) > 45
    assert max(by_tick) > 500_000
    assert min(by_tick) < 100_000


@given(FIELDS | SIX, MOMENTS)
def test_a_tick_fits_its_expression_in_utc(cron, after):
    tick = next_tick(Timing((cron,)), after)
    assert tick is not None
    assert tick % 1000 == 0
    minutes = cron.split()[-5]
    if minutes.isdigit():
        assert datetime.fromtimestamp(tick / 1000, UTC).minute == int(minutes)
