"""Content that nobody refers to leaves in two steps, and what is stored again meanwhile is never lost."""

import asyncio
import hashlib

import pytest

from runtime.artifacts.aside import SetAside
from runtime.errors import ArtifactMissing


async def read(store, digest: str) -> bytes:
    return b"".join([chunk async for chunk in store.stream(digest)])


async def pages(store, limit: int) -> list[str]:
    """All hashes in their place, read page by page."""
    found: list[str] = []
    while page := await store.stored(found[-1] if found else "", limit):
        assert len(page) <= limit
        found += [item.digest for item in page]
    return found


async def test_everything_is_listed_in_order_a_page_at_a_time(store, damage):
    digests = [(await store.put(f"content {n}".encode()))[0] for n in range(25)]
    assert await pages(store, 1000) == sorted(digests)
    assert await pages(store, 7) == sorted(digests)
    (first,) = await store.stored(limit=1)
    assert (first.digest, first.size) == (min(digests), len(await store.get(min(digests))))
    assert abs(first.modified - await now()) < 60_000


async def now() -> int:
    from runtime.clock import SystemClock

    return SystemClock().now()


async def test_what_is_set_aside_can_still_be_read(store):
    digest, _ = await store.put(b"hardly needed")
    await store.set_aside(digest, 7)
    assert await pages(store, 10) == []
    assert await store.aside() == [SetAside(digest, 7)]
    assert await store.get(digest) == b"hardly needed"
    assert await read(store, digest) == b"hardly needed"
    assert await store.size(digest) == 13


async def test_what_is_put_back_is_in_its_place(store):
    digest, _ = await store.put(b"needed after all")
    await store.set_aside(digest, 7)
    await store.put_back(SetAside(digest, 7))
    assert await store.aside() == []
    assert await pages(store, 10) == [digest]
    assert await store.get(digest) == b"needed after all"


async def test_what_is_erased_is_gone_and_can_be_stored_again(store):
    digest, _ = await store.put(b"gone soon")
    await store.set_aside(digest, 7)
    await store.erase(SetAside(digest, 7))
    assert await store.size(digest) is None
    with pytest.raises(ArtifactMissing):
        await store.get(digest)
    assert await store.put(b"gone soon") == (digest, 9)
    assert await store.get(digest) == b"gone soon"


async def test_erasing_takes_neither_what_was_stored_again_nor_what_was_set_aside_later(store):
    digest, _ = await store.put(b"again and again")
    await store.set_aside(digest, 7)
    await store.put(b"again and again")
    await store.erase(SetAside(digest, 7))
    assert await store.get(digest) == b"again and again"
    await store.set_aside(digest, 8)
    await store.put(b"again and again")
    await store.set_aside(digest, 9)
    await store.erase(SetAside(digest, 8))
    assert await store.get(digest) == b"again and again"
    assert await store.aside() == [SetAside(digest, 9)]


async def test_every_step_may_be_repeated_and_may_come_too_late(store):
    digest, _ = await store.put(b"x")
    item = SetAside(digest, 7)
    for _ in range(2):
        await store.set_aside(digest, 7)
    for _ in range(2):
        await store.put_back(item)
    await store.set_aside(digest, 7)
    for _ in range(2):
        await store.erase(item)
    await store.put_back(item)
    await store.set_aside(digest, 8)
    assert await store.size(digest) is None


async def test_pages_of_what_is_aside(store):
    digests = [(await store.put(f"content {n}".encode()))[0] for n in range(7)]
    for digest in digests:
        await store.set_aside(digest, 1234)
    found: list[SetAside] = []
    while page := await store.aside(found[-1] if found else None, 3):
        found += page
    assert found == [SetAside(digest, 1234) for digest in sorted(digests)]


@pytest.mark.parametrize("turn", range(20))
async def test_readers_and_writers_never_miss_what_is_moved_at_the_same_moment(store, turn):
    data = b"wanted " * 1000
    digest, _ = await store.put(data)
    item = SetAside(digest, turn)
    for move in (store.set_aside(digest, turn), store.put_back(item), store.set_aside(digest, turn), store.put_back(item)):
        _, got, streamed, stored = await asyncio.gather(move, store.get(digest), read(store, digest), store.put(data))
        assert hashlib.sha256(got).hexdigest() == digest
        assert streamed == data
        assert stored == (digest, len(data))
    assert await store.get(digest) == data
