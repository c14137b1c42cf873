"""AgentActors reach the limiter and the kept answers through the Supervisor, and bear it when it is away."""

import pickle
from types import SimpleNamespace
from typing import Any

import pytest
from ray.exceptions import ActorDiedError

from actors import limits
from actors.directory import Directory
from actors.limits import SupervisedCallCache, exchange
from runtime.errors import StoreUnavailable
from runtime.limit_settings import ProviderLimits
from runtime.limits.desk import Desk
from runtime.limits.gate import Learned
from runtime.limits.limiter import Limiter
from runtime.limits.messages import Answer, Ask, Batch, Key, News, Place, Spot
from runtime.limits.seen import Quota, Seen
from runtime.store.cached_call_protocol import CachedCall

CALL = CachedCall("acme", "0" * 64, "brief", "openai:m", 1, 2, "{}")


def supervisor(monkeypatch: pytest.MonkeyPatch, **methods: Any) -> None:
    there = SimpleNamespace(**{name: SimpleNamespace(remote=method) for name, method in methods.items()})
    monkeypatch.setattr(limits, "handle", lambda _name: there)


async def gone(*_: Any) -> Any:
    raise ActorDiedError


async def test_without_a_supervisor_everything_is_said_again(monkeypatch: pytest.MonkeyPatch) -> None:
    supervisor(monkeypatch, permits=gone)
    assert await exchange(Batch("a", 1)) == Answer(again=True)


async def test_callers_wait_for_the_next_supervisor(monkeypatch: pytest.MonkeyPatch) -> None:
    desk, answers = Desk(), [gone, gone]

    async def permits(batch: Batch) -> Answer:
        return await (answers.pop() if answers else desk.exchange)(batch)

    supervisor(monkeypatch, permits=permits)
    limiter = Limiter(exchange, "agent-0/1")
    spot = Spot(Key("acme", "openai", "a"), "m", ProviderLimits(in_flight=1))
    permit = await limiter.permit(spot, "r", 0, 30)
    assert answers == []
    limiter.ended(permit, News(spot))
    await limiter.close()
    desk.close()


def test_what_is_said_crosses_processes() -> None:
    spot = Spot(Key("acme", "openai", "a"), "m", ProviderLimits(in_flight=1))
    place = Place(spot.key, "m", Learned(requests=500.0, pause=2.0))
    news = News(spot, 1, seen=Seen(Quota(500, 3, 1.5)), refused=True, pause=2.0)
    batch = Batch("a", 1, (Ask(1, spot, "r", 5),), (2,), (news,), True, (Ask(3, spot, "r", 5),), (place,))
    for said in (batch, Answer((1, 2), (place,)), Directory(limited=(spot.where,)), CALL):
        assert pickle.loads(pickle.dumps(said)) == said


async def test_kept_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[CachedCall] = []

    async def find(tenant: str, digest: str, now: int) -> list[CachedCall]:
        return [call for call in kept if (call.tenant, call.digest) == (tenant, digest) and call.expires_at > now]

    async def keep(call: CachedCall) -> None:
        kept.append(call)

    supervisor(monkeypatch, cached_call=find, keep_call=keep)
    cache = SupervisedCallCache()
    assert await cache.find("acme", CALL.digest, 0) is None
    await cache.keep(CALL)
    assert await cache.find("acme", CALL.digest, 0) == CALL
    supervisor(monkeypatch, cached_call=gone, keep_call=gone)
    for asking in (cache.find("acme", CALL.digest, 0), cache.keep(CALL)):
        with pytest.raises(StoreUnavailable):
            await asking
