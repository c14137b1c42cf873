"""An API replica hears an AgentActor over Ray, and notices when it is gone."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from ray.exceptions import ActorDiedError

from actors import deltas
from actors.deltas import AgentPeer, decode, encode
from runtime.deltas.delta import Delta
from runtime.deltas.fan import Fan
from runtime.deltas.links import Links, PeerLostError
from runtime.deltas.subscriptions import Batch, Subscriptions

SAID = Delta("run-1", "draft", 3, 1, 2, 0, "grün 🦭", json=True)


class Agent:
    """An AgentActor's two methods, called as Ray does: what goes over the border goes as bytes."""

    def __init__(self) -> None:
        self.fan = Fan()
        self._subscriptions = Subscriptions(self.fan)
        self.follow_deltas = SimpleNamespace(remote=self._follow)
        self.deltas = SimpleNamespace(remote=self._deltas)

    async def _follow(self, subscriber: str, add: list[str], drop: list[str]) -> bool:
        return self._subscriptions.follow(subscriber, add, drop)

    async def _deltas(self, subscriber: str) -> bytes:
        return encode(await self._subscriptions.poll(subscriber))


def test_a_batch_goes_over_the_border_and_comes_back() -> None:
    batch = Batch(known=True, lost=3, deltas=[SAID])
    assert decode(encode(batch)) == batch


async def test_what_an_agent_says_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    agent = Agent()
    monkeypatch.setattr(deltas, "handle", {"agent-0": agent}.__getitem__)
    links = Links("api-1", AgentPeer)
    links.update(["agent-0"])
    agent.fan.publish(SAID)
    with links.follow("run-1") as buffer:
        async with asyncio.timeout(20):
            assert await buffer.take() == (0, [SAID])
    await links.close()


@pytest.mark.parametrize("failure", [ActorDiedError(), ValueError("no such actor")], ids=["dead", "unknown"])
async def test_an_agent_that_is_gone_is_looked_up_anew(monkeypatch: pytest.MonkeyPatch, failure: Exception) -> None:
    async def gone(*_given: Any) -> Any:
        raise failure

    forgotten: list[str] = []
    there = SimpleNamespace(follow_deltas=SimpleNamespace(remote=gone), deltas=SimpleNamespace(remote=gone))
    monkeypatch.setattr(deltas, "handle", lambda _name: there)
    monkeypatch.setattr(deltas, "forget", forgotten.append)
    for call in (AgentPeer("agent-0").follow("api-1", ["run-1"], []), AgentPeer("agent-0").poll("api-1")):
        with pytest.raises(PeerLostError):
            await call
    assert forgotten == ["agent-0", "agent-0"]
