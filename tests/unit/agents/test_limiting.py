"""The limiter over real HTTP in each wire format: what providers say is heeded, and they are not stormed."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from runtime.agents.context import AgentContext, AgentOutcome
from runtime.agents.limiting import Limiting
from runtime.agents.loop import run_agent, warm
from runtime.agents.providers import Providers
from runtime.errors import StepFailed
from runtime.limit_settings import ProviderLimits
from runtime.limits.desk import Desk
from runtime.limits.limiter import Limiter
from runtime.settings import Settings
from tests.support.openai_server import Received, Refuse, Slow, Text
from tests.support.until import until
from tests.support.wires import Given, Wire, wires

NAMES = {"openai": "x-ratelimit-{}-requests", "anthropic": "anthropic-ratelimit-requests-{}"}


@pytest.fixture(params=["openai", "anthropic"])
async def wire(request) -> AsyncIterator[Wire]:
    await warm()
    async with wires(request.param) as (made,):
        yield made


class Watch:
    """A clock that notes how long it stood still."""

    def __init__(self) -> None:
        self.still = 0.0
        self._since: float | None = None

    def pause(self) -> None:
        self._since = time.monotonic()

    def resume(self) -> None:
        assert self._since is not None
        self.still += time.monotonic() - self._since
        self._since = None


class Agents:
    """Agents that share a limiter. Each call has a run of its own unless it says."""

    def __init__(self, wire: Wire, limits: ProviderLimits | None) -> None:
        self.wire, self.desk = wire, Desk()
        self.limiter = Limiter(self.desk.exchange, "test/1")
        settings = Settings(provider_limits={} if limits is None else {wire.provider: limits})
        self.providers = Providers(settings, Given({wire.provider: wire.credential()}))

    async def ask(self, *, run: str = "r", wait: float = 60.0, clock: Any = None, model: Any = None) -> AgentOutcome:
        layers = [Limiting(self.limiter, run, wait=wait, clock=clock)]
        context = AgentContext(self.providers, lambda _: None, timeout=20, layers=layers)  # type: ignore[arg-type, return-value]
        return await run_agent({"prompt": "the question"}, mode="live", default_model=model or self.wire.model, context=context)

    async def close(self) -> None:
        await self.limiter.close()
        self.desk.close()
        await self.providers.aclose()


@pytest.fixture
async def agents(wire) -> AsyncIterator[Callable[..., Agents]]:
    made: list[Agents] = []

    def make(**limits: int) -> Agents:
        made.append(Agents(wire, ProviderLimits(**limits) if limits else None))
        return made[-1]

    yield make
    for each in made:
        await each.close()


class Turnstile:
    """What a server answers that takes `rate` requests in each second of the clock, and refuses the rest until the next one."""

    def __init__(self, rate: int) -> None:
        self.rate, self.second, self.taken, self.refused, self.early = rate, 0, 0, 0, 0
        self._not_before = 0.0

    def __call__(self, request: Received) -> Any:
        now = time.monotonic()
        if int(now) != self.second:
            self.second, self.taken = int(now), 0
        self.taken += 1
        if self.taken <= self.rate:
            return Text("an answer")
        self.refused += 1
        return Refuse(429, retry_after=round(self.second + 1 - now + 0.01, 3))


async def callers(agents: Agents, count: int, until: Callable[[], bool]) -> None:
    """So many parallel callers, each of which has its next request as soon as the last is answered."""

    async def call(number: int) -> None:
        while not until():
            await agents.ask(run=f"r{number}")

    await asyncio.gather(*map(call, range(count)))


async def test_a_setting_is_kept_and_nothing_refused(wire, agents) -> None:
    gate = wire.server.default = Turnstile(60)
    limited = agents(requests_per_minute=50 * 60)
    began = time.monotonic()
    await asyncio.gather(*(limited.ask(run=f"r{number % 5}") for number in range(100)))
    assert gate.refused == 0
    assert time.monotonic() - began > 100 / 50 * 0.8


async def test_a_hundred_parallel_callers_learn_the_limit_by_hitting_it(wire, agents) -> None:
    """All hundred go out before anybody has said anything; from then on hardly one is refused."""
    gate = wire.server.default = Turnstile(30)
    unlimited = agents()
    await callers(unlimited, 100, lambda: wire.server.calls >= 100 + 30 * 8)
    first, later = min(gate.refused, 100), max(0, gate.refused - 100)
    assert later / (wire.server.calls - 100) < 0.08, f"{gate.refused} refused of {wire.server.calls}, {first} of them of the first hundred"


async def test_a_hundred_parallel_callers_heed_what_the_headers_say(wire, agents) -> None:
    gate = wire.server.default = Turnstile(60)  # twice of what is allowed: what was sent evenly may arrive in a bunch on a machine that is busy
    wire.server.beside = {NAMES[wire.provider].format("limit"): str(30 * 60)}
    told = agents()
    await told.ask()
    began = time.monotonic()
    await callers(told, 100, lambda: time.monotonic() - began > 3)
    assert gate.refused == 0
    assert wire.server.calls > 60


async def test_a_refused_call_is_repeated_when_the_provider_says_so(wire, agents) -> None:
    wire.server.say(Refuse(429, retry_after=1))
    watch, began = Watch(), time.monotonic()
    assert (await agents().ask(clock=watch)).output == "an answer"
    assert time.monotonic() - began >= 1
    assert watch.still >= 0.9, "waiting is not the attempt's time"
    assert wire.server.calls == 2


async def test_nobody_else_asks_before_the_time_the_provider_has_named(wire, agents) -> None:
    wire.server.say(Refuse(429, retry_after=1))
    shared = agents()
    first = asyncio.create_task(shared.ask(run="a"))
    await wire.server.asked(1)
    at = time.monotonic()
    await until(shared.desk.limited)
    others = [asyncio.create_task(shared.ask(run=f"b{number}")) for number in range(20)]
    await wire.server.asked(2)
    assert time.monotonic() - at >= 0.95
    for task in others:
        task.cancel()
    await asyncio.gather(first, *others, return_exceptions=True)


async def test_a_call_that_may_not_wait_fails_with_the_time_to_come_back(wire, agents) -> None:
    wire.server.say(Refuse(429, retry_after=40))
    shared = agents()
    with pytest.raises(StepFailed) as failed:
        await shared.ask(wait=5)
    assert (failed.value.error_code, failed.value.retry_after) == ("rate_limited", 40)
    began = time.monotonic()
    with pytest.raises(StepFailed) as failed:
        await shared.ask(wait=5)
    assert (failed.value.error_code, wire.server.calls) == ("rate_limited", 1)
    assert failed.value.retry_after == pytest.approx(40, abs=3)
    assert time.monotonic() - began < 3


async def test_a_provider_that_always_refuses_is_not_asked_for_ever(wire, agents) -> None:
    wire.server.default = lambda request: Refuse(429, retry_after=0)
    with pytest.raises(StepFailed) as failed:
        await agents().ask()
    assert (failed.value.error_code, wire.server.calls) == ("rate_limited", 4)


async def test_an_empty_account_is_no_limit(wire, agents) -> None:
    wire.server.default = lambda request: Refuse(402, code="billing_error")
    shared = agents()
    with pytest.raises(StepFailed) as failed:
        await shared.ask()
    assert (failed.value.error_code, shared.desk.limited(), wire.server.calls) == ("quota_exceeded", (), 1)


async def test_a_canceled_call_frees_its_place_within_a_second(wire, agents) -> None:
    limited = agents(in_flight=1)
    release = asyncio.Event()
    wire.server.say(Slow(Text("late"), release=release))
    first = asyncio.create_task(limited.ask(run="a"))
    await wire.server.asked(1)
    second = asyncio.create_task(limited.ask(run="b"))
    await until(lambda: limited.desk.book.waiting == 1)
    began = time.monotonic()
    first.cancel()
    await second
    assert time.monotonic() - began < 1
    await asyncio.gather(first, return_exceptions=True)


async def test_tokens_count_as_they_were_used(wire, agents) -> None:
    """The server counts 110 tokens a call, whatever was expected."""
    limited = agents(tokens_per_minute=110 * 60)
    began = time.monotonic()
    for _ in range(4):
        await limited.ask()
    assert 2.0 < time.monotonic() - began < 8


async def test_with_another_model_at_hand_nobody_waits_for_long(agents, wire) -> None:
    async with wires("openai-compatible") as (second,):
        second.server.say(Text("the second"))
        shared = agents()
        shared.providers = Providers(Settings(), Given({wire.provider: wire.credential(), second.provider: second.credential()}))
        wire.server.default = lambda request: Refuse(429, retry_after=60)
        began = time.monotonic()
        outcome = await shared.ask(model=[wire.model, second.model])
        assert outcome.output == "the second"
        assert time.monotonic() - began < 5
        await shared.providers.aclose()
