"""The small parts under the gateway: shared reads, the bounded map, pauses."""

import asyncio

import pytest

from runtime.gateway.pauses import Pauses
from runtime.gateway.sharing import SharedRead
from runtime.lru import Lru


class Source:
    """Reads that end when the test lets them."""

    def __init__(self) -> None:
        self.value = 0
        self.reads = 0
        self.gate = asyncio.Event()
        self.begun = asyncio.Event()

    async def read(self, key: str) -> int:
        self.reads += 1
        seen = self.value
        self.begun.set()
        await self.gate.wait()
        if key == "bad":
            raise LookupError(key)
        return seen


async def test_who_comes_during_a_read_sees_what_was_true_when_he_came() -> None:
    source = Source()
    shared = SharedRead(source.read)
    first = asyncio.create_task(shared.get("k"))
    await source.begun.wait()
    source.value = 1
    later = [asyncio.create_task(shared.get("k")) for _ in range(50)]
    await asyncio.sleep(0)
    source.gate.set()
    assert await first == 0
    assert await asyncio.gather(*later) == [1] * 50
    assert source.reads == 2
    assert await shared.get("k") == 1
    assert source.reads == 3


async def test_a_failed_read_fails_those_who_shared_it_and_nobody_else() -> None:
    source = Source()
    shared = SharedRead(source.read)
    failing = [asyncio.create_task(shared.get("bad")) for _ in range(3)]
    other = asyncio.create_task(shared.get("good"))
    await source.begun.wait()
    source.gate.set()
    assert all(isinstance(each, LookupError) for each in await asyncio.gather(*failing, return_exceptions=True))
    assert await other == 0


async def test_a_reader_who_gives_up_does_not_stop_the_others() -> None:
    source = Source()
    shared = SharedRead(source.read)
    tasks = [asyncio.create_task(shared.get("k")) for _ in range(3)]
    await source.begun.wait()
    tasks[0].cancel()
    source.gate.set()
    assert await asyncio.gather(*tasks[1:]) == [0, 0]


def test_the_map_forgets_what_was_used_longest_ago() -> None:
    lru: Lru[str, int] = Lru(10)
    lru.put("a", 1, weight=4)
    lru.put("b", 2, weight=4)
    assert lru.get("a") == 1
    lru.put("c", 3, weight=4)
    assert (lru.get("a"), lru.get("b"), lru.get("c")) == (1, None, 3)
    lru.put("huge", 4, weight=100)
    assert (lru.get("huge"), len(lru)) == (4, 1)
    lru.put("d", 5)
    assert (lru.get("huge"), lru.get("d")) == (None, 5)
    lru.drop(lambda value: value == 5)
    assert len(lru) == 0


class Still:
    """A clock on which no time passes."""

    def now(self) -> int:
        return 0

    def monotonic(self) -> float:
        return 0.0


async def test_pauses_grow_and_hurry_ends_them() -> None:
    pauses = Pauses(Still(), longest=1000)
    for _ in range(3):
        async with pauses.at_least(0.001):
            pass
    long = Pauses(Still(), longest=1000)
    long._next = 1000
    async with long.at_least(10_000):
        asyncio.get_running_loop().call_soon(long.hurry)
    assert long._next < 1


async def test_an_error_inside_a_pause_comes_out_at_once() -> None:
    pauses = Pauses(Still(), longest=1000)
    pauses._next = 1000
    with pytest.raises(LookupError):
        async with pauses.at_least(10_000):
            raise LookupError
