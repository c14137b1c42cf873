"""Deltas between processes: only what is followed is asked for, and a process that is lost or another one is told anew."""

import asyncio
from collections.abc import Callable, Iterable, Sequence

import pytest

from runtime.deltas import links as linking
from runtime.deltas import subscriptions as subscribing
from runtime.deltas.delta import Delta
from runtime.deltas.fan import Fan
from runtime.deltas.links import Links, PeerLostError
from runtime.deltas.subscriptions import Batch, Subscriptions
from tests.support.ears import text_of


def delta(offset: int, text: str, run: str = "r") -> Delta:
    return Delta(run, "a", None, 1, 1, offset, text)


class Process:
    """One that asks models, and the way to it."""

    def __init__(self) -> None:
        self.polls = 0
        self.follows: list[tuple[list[str], list[str]]] = []
        self.up = True
        self.start()

    def start(self) -> None:
        """It knows nothing, as after a crash."""
        self.fan = Fan()
        self.subscriptions = Subscriptions(self.fan)

    async def follow(self, subscriber: str, add: Sequence[str], drop: Sequence[str]) -> bool:
        if not self.up:
            raise PeerLostError
        self.follows.append((list(add), list(drop)))
        return self.subscriptions.follow(subscriber, add, drop)

    async def poll(self, subscriber: str) -> Batch:
        self.polls += 1
        if not self.up:
            raise PeerLostError
        return await self.subscriptions.poll(subscriber)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.001)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linking, "RETRY_SECONDS", 0.005)


@pytest.fixture
async def processes() -> dict[str, Process]:
    return {"agent-0": Process(), "agent-1": Process()}


@pytest.fixture
async def links(processes):
    made = Links("api-1", processes.__getitem__)
    made.update(processes)
    yield made
    await made.close()


async def read(buffer, text: str) -> None:
    """Wait until a reader has this text."""
    heard: list[Delta] = []
    async with asyncio.timeout(20):
        while text_of(heard) != text:
            heard += (await buffer.take())[1]


async def test_nobody_is_asked_while_nobody_follows(links, processes) -> None:
    await asyncio.sleep(0)
    assert [process.polls for process in processes.values()] == [0, 0]
    assert not any(process.follows for process in processes.values())


async def test_what_is_said_anywhere_is_heard_here(links, processes) -> None:
    zero, one = processes.values()
    with links.follow("r") as buffer, links.follow("s") as other:
        await until(lambda: zero.fan.followed("r") and one.fan.followed("s"))
        one.fan.publish(delta(0, "a"))
        one.fan.publish(delta(1, "b"))
        zero.fan.publish(delta(0, "x", "s"))
        zero.fan.publish(delta(0, "nobody", "t"))
        await read(buffer, "ab")
        await read(other, "x")
    await until(lambda: not zero.fan.followed("r") and not one.fan.followed("s"))
    polls = one.polls
    assert not one.fan.followed("r")
    await asyncio.sleep(0)
    assert one.polls == polls


async def test_who_comes_in_the_middle_hears_the_beginning(links, processes) -> None:
    one = processes["agent-1"]
    one.fan.publish(delta(0, "be"))
    with links.follow("r") as early:
        await read(early, "be")
        one.fan.publish(delta(2, "gin"))
        await read_on(early, "gin")
        with links.follow("r") as late:
            await read(late, "begin")


async def read_on(buffer, text: str) -> None:
    lost, heard = await buffer.take()
    assert (lost, "".join(one.text for one in heard)) == (0, text)


async def test_a_process_that_is_restarted_is_told_again(links, processes) -> None:
    one = processes["agent-1"]
    with links.follow("r") as buffer:
        await until(lambda: one.fan.followed("r"))
        one.up = False
        one.fan.publish(delta(0, "a"))  # answers the poll that is under way
        await read(buffer, "a")
        await until(lambda: not links._links["agent-1"]._told)
        one.start()
        one.up = True
        await until(lambda: one.fan.followed("r"))
        one.fan.publish(delta(0, "again"))
        await read(buffer, "again")


async def test_a_process_that_has_forgotten_is_told_everything(links, processes) -> None:
    one = processes["agent-1"]
    with links.follow("r"):
        await until(lambda: one.fan.followed("r"))
        one.start()  # without anybody noticing
        with links.follow("s") as buffer:
            await until(lambda: one.fan.followed("r") and one.fan.followed("s"))
            one.fan.publish(delta(0, "x", "s"))
            await read(buffer, "x")


async def test_a_process_that_leaves_is_heard_until_it_has_left(links, processes) -> None:
    one = processes["agent-1"]
    with links.follow("r") as buffer:
        await until(lambda: one.fan.followed("r"))
        links.update(["agent-0"])
        one.fan.publish(delta(0, "last words"))
        await read(buffer, "last words")
        one.up = False
        one.fan.publish(delta(10, "!"))  # answers the poll that is under way; the next one fails
        await until(lambda: links._links["agent-1"].over)
        polls = one.polls
        links.update(["agent-0"])
        assert set(links._links) == {"agent-0"}
        processes["agent-1"].up = True
        links.update(processes)
        await until(lambda: one.polls > polls)


async def test_a_loss_at_the_other_process_is_told_here(links, processes) -> None:
    one = processes["agent-1"]
    with links.follow("r") as buffer:
        await until(lambda: one.fan.followed("r"))
        one.fan.miss(7)
        assert await buffer.take() == (7, [])


async def test_a_subscriber_that_asks_no_more_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscribing, "SILENT_SECONDS", 0.01)
    process = Process()
    process.subscriptions.follow("api-1", ["r"], [])
    assert process.fan.followed("r")
    await until(lambda: not process.fan.followed("r"))
    assert not process.subscriptions._subscribers


async def test_a_poll_ends_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscribing, "POLL_SECONDS", 0.01)
    process = Process()
    process.subscriptions.follow("api-1", ["r"], [])
    assert await process.subscriptions.poll("api-1") == Batch(known=True)
    assert await process.subscriptions.poll("stranger") == Batch(known=False)


async def test_subscribers_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscribing, "MAX_SUBSCRIBERS", 2)
    process = Process()
    names: Iterable[str] = ("a", "b", "c")
    for name in names:
        process.subscriptions.follow(name, ["r"], [])
    assert set(process.subscriptions._subscribers) == {"a", "b"}
    assert await process.subscriptions.poll("c") == Batch(known=False)
