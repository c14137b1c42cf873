"""The arithmetic of budgets: never above the limit, whatever the interleaving."""

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule

from runtime.money.accounts import MEASURES, Account, Verdict
from runtime.money.amounts import NOTHING, Amount, Limits, dollars, written
from runtime.money.budgets import document, limits, lower
from runtime.money.periods import DAY_MS, begin

CENTS = st.integers(0, 500).map(lambda cents: Decimal(cents) / 100)
AMOUNTS = st.builds(Amount, CENTS, st.integers(0, 5000), st.just(1))
LIMITS = st.builds(Limits, st.none() | CENTS, st.none() | st.integers(0, 20_000), st.none() | st.integers(0, 12))


class Interleavings(RuleBasedStateMachine):
    """Calls that are wished for, granted, and end in any order: charged, at most with what was held back, or not made."""

    calls = Bundle("calls")

    @initialize(limit=LIMITS)
    def begin(self, limit: Limits) -> None:
        self.account = Account(limit)
        self.open: list[Amount] = []

    @rule(target=calls, most=AMOUNTS)
    def wish(self, most: Amount) -> Amount | None:
        verdict = self.account.judge(most).verdict
        if verdict is not Verdict.GRANTED:
            return None
        self.account = self.account.hold(most)
        self.open.append(most)
        return most

    @rule(most=consumes(calls), share=st.fractions(0, 1))
    def charge(self, most: Amount | None, share: object) -> None:
        if most is not None:
            part = Decimal(share.numerator) / Decimal(share.denominator)  # type: ignore[attr-defined]  # a Fraction
            self.account = self.account.spend(Amount(most.usd * part, int(most.tokens * part), 1)).give_back(most)
            self.open.remove(most)

    @rule(most=consumes(calls))
    def release(self, most: Amount | None) -> None:
        if most is not None:
            self.account = self.account.give_back(most)
            self.open.remove(most)

    @invariant()
    def never_above_the_limit(self) -> None:
        for measure in MEASURES:
            limit = getattr(self.account.limits, measure)
            used = getattr(self.account.spent, measure)
            assert limit is None or used <= limit
            assert limit is None or used + getattr(self.account.held, measure) <= limit

    @invariant()
    def held_is_the_sum_of_what_is_open(self) -> None:
        assert self.account.held == sum(self.open, NOTHING)


TestInterleavings = Interleavings.TestCase
TestInterleavings.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


@given(limit=LIMITS, spent=AMOUNTS, held=AMOUNTS, most=AMOUNTS)
def test_a_verdict_says_what_would_follow(limit: Limits, spent: Amount, held: Amount, most: Amount) -> None:
    """LATER is said exactly when the call would fit if all others cost nothing, EXCEEDED when it would not even then."""

    def fits(total: Amount) -> bool:
        return all(getattr(limit, measure) is None or getattr(total, measure) <= getattr(limit, measure) for measure in MEASURES)

    judged = Account(limit, spent, held).judge(most)
    expected = Verdict.GRANTED if fits(spent + held + most) else Verdict.LATER if fits(spent + most) else Verdict.EXCEEDED
    assert judged.verdict is expected
    assert (judged.measure in MEASURES) is (expected is not Verdict.GRANTED)


def test_a_budget_in_dollars_needs_a_price() -> None:
    assert Account(Limits(usd=Decimal(5))).judge(Amount(calls=1), priced=False).verdict is Verdict.UNPRICED
    assert Account(Limits(calls=1)).judge(Amount(calls=1), priced=False).verdict is Verdict.GRANTED


@given(st.decimals(0, 10**6, allow_nan=False, places=12))
def test_dollars_are_written_and_read_without_loss(usd: Decimal) -> None:
    assert dollars(written(usd)) == usd
    assert "E" not in written(usd)


def test_dollars_are_what_is_written_and_rounded_up() -> None:
    assert [written(dollars(value)) for value in (0.1, 5, "0.30", Decimal("1e-12"), "1e-13", 0)] == ["0.1", "5", "0.3", "0.000000000001", "0.000000000001", "0"]


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ({}, {}, None),
        ({"on_exceeded": "ask"}, {}, None),
        ({"usd": "5", "on_exceeded": "ask"}, {}, {"usd": "5", "on_exceeded": "ask"}),
        ({"usd": "5", "on_exceeded": "ask"}, {"usd": "10", "calls": 3}, {"usd": "5", "calls": 3, "on_exceeded": "ask"}),
        ({"usd": "10", "tokens": 7}, {"usd": "9.5", "on_exceeded": "ask"}, {"usd": "9.5", "tokens": 7, "on_exceeded": "ask"}),
        ({}, {"duration": 1000}, {"duration": 1000, "on_exceeded": "stop"}),
    ],
)
def test_the_lower_limit_counts(one: dict, other: dict, expected: dict | None) -> None:
    assert lower(one, other) == expected


def test_a_budget_as_the_journal_has_it() -> None:
    assert document(5.0, None, 3, 60_000, "ask") == {"usd": "5", "calls": 3, "duration": 60_000, "on_exceeded": "ask"}
    assert limits({"usd": "0.5", "duration": 1}) == Limits(Decimal("0.5"), None, None)


def test_periods_begin_with_days_and_months_of_utc() -> None:
    at = 1_709_294_400_000 + 123  # 2024-03-01T12:00:00.123Z
    assert begin("day", at) == 1_709_251_200_000
    assert begin("month", at) == 1_709_251_200_000
    assert begin("month", at - DAY_MS) == 1_706_745_600_000, "February begins on the 1st"
    assert begin("run", at) == 0
