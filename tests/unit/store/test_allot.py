"""Who gets a slot: order, fairness and limits, over random lines."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from runtime.store.allot import Tally, Waiting, allot

rows = st.lists(
    st.tuples(st.sampled_from("gh"), st.sampled_from("abc"), st.sampled_from([None, 1, 2, 5]), st.sampled_from([None, 1, 2]), st.integers(0, 2)), max_size=20
)


def waiting(*rows: tuple) -> list[Waiting]:
    return [Waiting(f"r{at:02}", (group, key), limit, per_key, priority, at) for at, (group, key, limit, per_key, priority) in enumerate(rows)]


def test_priority_then_fewest_then_oldest():
    runs = waiting(("g", "a", 9, None, 0), ("g", "a", 9, None, 0), ("g", "b", 9, None, 0), ("g", "c", 9, None, 1), ("g", "b", 9, None, 0))
    tally = Tally(Counter({"g": 1}), Counter({("g", "a"): 1}))
    assert [run.run_id for run in allot(runs, tally)] == ["r03", "r02", "r00", "r04", "r01"]


def test_a_blocked_lane_holds_up_no_other():
    runs = waiting(("g", "a", 9, 1, 5), ("g", "a", 9, 1, 5), ("g", "b", 9, 1, 0))
    assert [run.run_id for run in allot(runs, Tally())] == ["r00", "r02"]


@given(rows, st.dictionaries(st.tuples(st.sampled_from("gh"), st.sampled_from("abc")), st.integers(0, 3)))
def test_nobody_is_let_in_beyond_a_limit_and_nobody_first_in_line_is_left_out_below_it(rows: list[tuple], held: dict):
    tally = Tally()
    for lane, count in held.items():
        tally.add(lane, count)
    runs, before = waiting(*rows), tally.copy()
    chosen = allot(reversed(runs), tally)
    for run in chosen:
        assert before.fits(run)
        before.add(run.lane)
    assert before == tally, "the tally counts who was chosen, and nobody else"
    left = [run for run in sorted(runs, key=lambda run: run.rank) if run not in chosen]
    heads = {run.lane: run for run in reversed(left)}
    assert not [run for run in heads.values() if tally.fits(run)]
    assert allot(runs, Tally()) == allot(reversed(runs), Tally()), "the order of the question does not matter"
