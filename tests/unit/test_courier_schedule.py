"""The schedule of tries, without a clock and without a receiver."""

import pytest

from runtime.courier.schedule import DELAYS, JITTER, MAX_ERROR, Answer, settled
from runtime.store.webhooks import DeliveryRow, DeliveryState, Settled

NOW = 1_700_000_000_000


def tried(tries: int) -> DeliveryRow:
    return DeliveryRow("id", "endpoint", "run", 1, "run.failed", "{}", DeliveryState.PENDING, tries, NOW + 60_000, NOW)


def after(tries: int, answer: Answer, chance: float = 0.0) -> Settled:
    return settled(tried(tries), answer, NOW, chance)


def test_the_delays_are_those_of_the_standard() -> None:
    minute, hour = 60, 3600
    assert (0, 5, 5 * minute, 30 * minute, 2 * hour, 5 * hour, 10 * hour, 14 * hour, 20 * hour, 24 * hour) == DELAYS
    waits = [(after(tries, Answer(500)).next_at - NOW) // 1000 for tries in range(1, 10)]
    assert tuple(waits) == DELAYS[1:]
    longest = [(after(tries, Answer(500), 1.0).next_at - NOW) / 1000 for tries in range(1, 10)]
    assert longest == pytest.approx([delay * (1 + JITTER) for delay in DELAYS[1:]])


def test_after_the_tenth_try_it_is_given_up() -> None:
    last = after(10, Answer(503))
    assert (last.state, last.answer, last.error, last.disable) == (DeliveryState.GIVEN_UP, 503, "the receiver answered 503", None)


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_2xx_is_delivered(status: int) -> None:
    assert after(3, Answer(status)) == Settled(tried(3), DeliveryState.DELIVERED, NOW, NOW + 60_000, status)


@pytest.mark.parametrize("status", [100, 199, 300, 301, 302, 307, 308, 400, 401, 404, 409, 429, 500, 503])
def test_anything_else_is_a_failure(status: int) -> None:
    outcome = after(1, Answer(status))
    assert (outcome.state, outcome.answer, outcome.disable) == (DeliveryState.PENDING, status, None)
    assert str(status) in (outcome.error or "")
    assert ("redirects" in (outcome.error or "")) is (300 <= status < 400)


def test_gone_ends_the_delivery_and_the_endpoint() -> None:
    outcome = after(1, Answer(410))
    assert (outcome.state, outcome.disable) == (DeliveryState.GIVEN_UP, "the receiver answered 410 Gone")


@pytest.mark.parametrize(("asked", "seconds"), [(None, 5), (0, 5), (3, 5), (120, 120), (10**9, 86_400)])
def test_a_receiver_may_ask_for_more_time_but_not_for_ever(asked: float | None, seconds: int) -> None:
    assert after(1, Answer(429, retry_after=asked)).next_at == NOW + seconds * 1000


def test_what_was_not_sent_counts_no_try() -> None:
    outcome = after(10, Answer(error="no key", untried=True))
    assert (outcome.state, outcome.untried, outcome.next_at, outcome.error) == (DeliveryState.PENDING, True, NOW + 60_000, "no key")


def test_errors_are_bounded() -> None:
    assert len(after(1, Answer(error="x" * 10_000)).error or "") == MAX_ERROR
