"""What follows from one try: delivered, again later, given up, or the end of the endpoint. Pure."""

from dataclasses import dataclass

from runtime.store.webhooks import DeliveryRow, DeliveryState, Settled

DELAYS = (0, 5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
"""Seconds before each try, from the one before it: three days in all."""
JITTER = 0.2
"""A delay is longer by up to this share, so that what failed together does not come back together."""
MAX_RETRY_AFTER = 86_400.0
"""Seconds; a receiver that asks for more is asked again after a day."""
UNTRIED_SECONDS = 60
MAX_ERROR = 500
"""Characters."""
GONE = 410


@dataclass(frozen=True, slots=True)
class Answer:
    """What one try came to: a status, or an error when there was none. `untried`: nothing was sent, for a reason of our own."""

    status: int | None = None
    error: str | None = None
    retry_after: float | None = None
    untried: bool = False

    @property
    def delivered(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


def settled(delivery: DeliveryRow, answer: Answer, now: int, chance: float) -> Settled:
    """What to write down of this try at `now` (ms). `chance` is drawn from 0 to 1."""
    if answer.delivered:
        return Settled(delivery, DeliveryState.DELIVERED, now, delivery.next_at, answer.status)
    error = (answer.error or _meaning(answer.status))[:MAX_ERROR]
    if answer.untried:
        return Settled(delivery, DeliveryState.PENDING, now, now + UNTRIED_SECONDS * 1000, error=error, untried=True)
    if answer.status == GONE:
        return Settled(delivery, DeliveryState.GIVEN_UP, now, delivery.next_at, GONE, error, disable="the receiver answered 410 Gone")
    if delivery.tries >= len(DELAYS):
        return Settled(delivery, DeliveryState.GIVEN_UP, now, delivery.next_at, answer.status, error)
    seconds = max(DELAYS[delivery.tries] * (1 + JITTER * chance), min(answer.retry_after or 0.0, MAX_RETRY_AFTER))
    return Settled(delivery, DeliveryState.PENDING, now, now + round(seconds * 1000), answer.status, error)


def _meaning(status: int | None) -> str:
    if status is not None and 300 <= status < 400:
        return f"the receiver answered {status}: redirects are not followed, give its final address"
    return f"the receiver answered {status}"
