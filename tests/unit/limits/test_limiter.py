"""The limiter as a process has it, in front of a desk that may be slow, new, or away."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from runtime.errors import StepFailed
from runtime.limits.desk import Desk
from runtime.limits.limiter import Limiter
from runtime.limits.messages import Answer, Batch, Key, News
from runtime.limits.seen import Quota, Seen
from tests.support.until import until
from tests.unit.limits.provider import KEY, spot


class Line:
    """The way to the desk. `desk` may be exchanged or taken away; `said` is everything that was said."""

    def __init__(self) -> None:
        self.desk: Desk | None = Desk()
        self.said: list[Batch] = []

    async def exchange(self, batch: Batch) -> Answer:
        self.said.append(batch)
        return Answer(again=True) if self.desk is None else await self.desk.exchange(batch)


@pytest.fixture
def line() -> Line:
    return Line()


@pytest.fixture
async def limiter(line: Line) -> AsyncIterator[Limiter]:
    made = Limiter(line.exchange, "p/1")
    yield made
    await made.close()


async def test_what_nothing_limits_asks_nobody(line: Line, limiter: Limiter) -> None:
    for _ in range(100):
        permit = await limiter.permit(spot(), "r", 0, 1)
        limiter.ended(permit, News(spot()))
    assert limiter._talk is None
    assert line.said == []


async def test_what_a_provider_says_is_heard_by_all(line: Line, limiter: Limiter) -> None:
    other = Limiter(line.exchange, "p/2")
    limiter.ended(await limiter.permit(spot(), "r", 0, 1), News(spot(), seen=Seen(Quota(60, 59, 1.0))))
    assert limiter.limited(spot())
    await until(line.desk.limited)
    assert not other.limited(spot())
    other.heard(line.desk.limited())
    assert other.limited(spot())
    await other.close()


async def test_many_calls_are_asked_for_in_few_messages(line: Line, limiter: Limiter) -> None:
    where = spot(requests_per_minute=60_000)

    async def call(number: int) -> None:
        limiter.ended(await limiter.permit(where, f"r{number % 7}", 0, 30), News(where))

    began = time.monotonic()
    await asyncio.gather(*map(call, range(500)))
    took = time.monotonic() - began
    assert 0.2 < took < 5
    assert len(line.said) < 20 + took * 120


async def test_a_canceled_call_gives_its_place_up_at_once(line: Line, limiter: Limiter) -> None:
    where = spot(in_flight=1)
    held = await limiter.permit(where, "r", 0, 1)
    tasks = [asyncio.create_task(limiter.permit(where, "r", 0, 60)) for _ in range(50)]
    await until(lambda: line.desk.book.waiting == 50)
    for task in tasks[:49]:
        task.cancel()
    began = time.monotonic()
    await until(lambda: line.desk.book.waiting == 1)
    assert time.monotonic() - began < 1
    limiter.ended(held, News(where))
    await tasks[49]


async def test_a_call_canceled_as_its_turn_comes_gives_it_back(line: Line, limiter: Limiter) -> None:
    where = spot(in_flight=1)
    for _ in range(20):
        held = await limiter.permit(where, "r", 0, 5)
        task = asyncio.create_task(limiter.permit(where, "r", 0, 5))
        await until(lambda: line.desk.book.waiting == 1)
        limiter.ended(held, News(where))
        await until(lambda: line.desk.book.waiting == 0)
        task.cancel()
        if isinstance(found := (await asyncio.gather(task, return_exceptions=True))[0], BaseException):
            continue
        limiter.ended(found, News(where))
    await until(lambda: line.desk.book.key(KEY).idle)


async def test_nobody_waits_for_longer_than_they_said(line: Line, limiter: Limiter) -> None:
    where = spot(in_flight=1)
    await limiter.permit(where, "r", 0, 1)
    with pytest.raises(StepFailed) as failed:
        await limiter.permit(where, "r", 0, 0.1)
    assert (failed.value.error_code, failed.value.retryable) == ("rate_limited", True)
    await until(lambda: line.desk.book.waiting == 0)


async def test_who_cannot_wait_for_the_time_a_provider_names_hears_so_at_once(line: Line, limiter: Limiter) -> None:
    waiting = asyncio.create_task(limiter.permit(spot(in_flight=1), "r", 0, 20))
    held = await waiting
    patient = asyncio.create_task(limiter.permit(held.spot, "r", 0, 100))
    hasty = asyncio.create_task(limiter.permit(held.spot, "r", 0, 20))
    await until(lambda: line.desk.book.waiting == 2)
    limiter.ended(held, News(held.spot, refused=True, pause=50.0))
    with pytest.raises(StepFailed) as failed:
        await hasty
    assert failed.value.retry_after == pytest.approx(50, abs=2)
    with pytest.raises(StepFailed):
        await limiter.permit(held.spot, "r", 0, 20)
    assert not patient.done()
    patient.cancel()


async def test_a_new_desk_is_told_everything_and_callers_wait_on(line: Line, limiter: Limiter) -> None:
    where = spot(in_flight=1)
    held = await limiter.permit(where, "r", 0, 60)
    waiting = [asyncio.create_task(limiter.permit(where, "r", 0, 60)) for _ in range(5)]
    await until(lambda: line.desk.book.waiting == 5)
    old, line.desk = line.desk, None
    old.close()
    for poll in old._polls.values():
        poll.set()
    old.book.holders.clear()
    late = asyncio.create_task(limiter.permit(where, "r", 0, 60))
    await asyncio.sleep(0)
    line.desk = Desk()
    await until(lambda: line.desk.book.waiting == 6)
    assert len(line.desk.book.key(KEY).out) == 1, "what is out is known again"
    for task in (*waiting, late):
        limiter.ended(held, News(where))
        held = await task
    line.desk.close()


async def test_a_dead_process_frees_what_it_held(line: Line, limiter: Limiter) -> None:
    where, dead = spot(in_flight=1), Limiter(line.exchange, "agent-1/x")
    await dead.permit(where, "r", 0, 1)
    task = asyncio.create_task(limiter.permit(where, "r", 0, 30))
    await until(lambda: line.desk.book.waiting == 1)
    await dead.close()
    line.desk.died("agent-1")
    async with asyncio.timeout(1):
        await task


async def test_waits_and_refusals_are_told(line: Line) -> None:
    waits, refusals = [], []
    limiter = Limiter(line.exchange, "p/1", waited=lambda *said: waits.append(said), refused=refusals.append)
    where = spot(requests_per_minute=600)
    for _ in range(3):
        limiter.ended(await limiter.permit(where, "r", 0, 5), News(where))
    limiter.ended(await limiter.permit(where, "r", 0, 5), News(where, refused=True))
    assert [provider for provider, _ in waits] == ["openai"] * 4
    assert sum(seconds for _, seconds in waits) > 0.2
    assert refusals == ["openai"]
    await limiter.close()


async def test_a_tenant_sees_its_own_keys_and_of_the_operators_only_their_limits(line: Line, limiter: Limiter) -> None:
    shared, foreign = Key("", "anthropic", "b"), Key("other", "openai", "c")
    for key in (KEY, shared, foreign):
        await limiter.permit(spot(key=key, in_flight=3), "r", 0, 1)
    seen = line.desk.shown("acme")
    assert [(one["provider"], one["shared"], one["in_flight"], len(one["models"])) for one in seen] == [("anthropic", True, None, 0), ("openai", False, 1, 1)]
    assert "account" not in str(seen)
