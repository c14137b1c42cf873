"""The contract of every artifact store."""

import asyncio
import hashlib
import os

import pytest

from runtime.errors import ArtifactMissing, PayloadTooLarge

MEGABYTE = os.urandom(2**20)


async def chunks(*parts):
    for part in parts:
        yield part


async def collect(stream):
    return [chunk async for chunk in stream]


@pytest.mark.parametrize("data", [b"", b"x", b"hello" * 1000, MEGABYTE], ids=["empty", "byte", "text", "megabyte"])
async def test_what_is_put_comes_back(store, data):
    digest, size = await store.put(data)
    assert (digest, size) == (hashlib.sha256(data).hexdigest(), len(data))
    assert await store.get(digest) == data
    assert await store.size(digest) == size
    assert b"".join(await collect(store.stream(digest))) == data


async def test_stream_is_stored_like_bytes(store):
    digest, size = await store.put(chunks(b"a" * 300_000, b"", b"b"))
    assert (digest, size) == await store.put(b"a" * 300_000 + b"b")
    assert await store.get(digest) == b"a" * 300_000 + b"b"


async def test_empty_stream(store):
    assert await store.put(chunks()) == await store.put(b"")


async def test_same_content_by_many_at_once(store):
    answers = await asyncio.gather(*(store.put(MEGABYTE if turn % 2 else chunks(MEGABYTE)) for turn in range(12)))
    assert len(set(answers)) == 1
    assert await store.get(answers[0][0]) == MEGABYTE


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (0, 10, b"0123456789"),
        (0, 1, b"0"),
        (9, 10, b"9"),
        (3, 3, b""),
        (3, 7, b"3456"),
        (5, None, b"56789"),
        (5, 99, b"56789"),
        (10, None, b""),
        (99, 100, b""),
    ],
)
async def test_ranges(store, start, end, expected):
    digest, _ = await store.put(b"0123456789")
    assert b"".join(await collect(store.stream(digest, start=start, end=end))) == expected


async def test_long_streams_come_in_pieces(store):
    digest, _ = await store.put(MEGABYTE)
    pieces = await collect(store.stream(digest, start=1, end=2**20 - 1))
    assert len(pieces) > 1
    assert b"".join(pieces) == MEGABYTE[1:-1]


async def test_limit_counts_before_anything_is_visible(store):
    for data in (b"12345", chunks(b"123", b"45")):
        with pytest.raises(PayloadTooLarge):
            await store.put(data, limit=4)
    assert await store.size(hashlib.sha256(b"12345").hexdigest()) is None
    assert await store.put(b"1234", limit=4)


async def test_source_that_fails_leaves_nothing(store):
    async def broken():
        yield b"abc"
        raise ConnectionResetError("gone")

    with pytest.raises(ConnectionResetError):
        await store.put(broken())
    assert await store.size(hashlib.sha256(b"abc").hexdigest()) is None


async def test_canceled_writer_leaves_nothing(store):
    begun = asyncio.Event()

    async def stuck():
        yield b"abc"
        begun.set()
        await asyncio.Event().wait()

    writing = asyncio.ensure_future(store.put(stuck()))
    await begun.wait()
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    assert await store.size(hashlib.sha256(b"abc").hexdigest()) is None


async def test_missing_content_is_named(store):
    absent = "a" * 64
    assert await store.size(absent) is None
    with pytest.raises(ArtifactMissing):
        await store.get(absent)
    with pytest.raises(ArtifactMissing):
        await collect(store.stream(absent))


@pytest.mark.parametrize("name", ["", "../../etc/passwd", "/etc/passwd", "A" * 64, "a" * 63, "a" * 65, "a" * 64 + "\n", "..%2f" * 12])
async def test_only_hashes_are_names(store, name):
    assert await store.size(name) is None
    for attempt in (store.get(name), collect(store.stream(name)), store.set_aside(name, 1)):
        with pytest.raises(ArtifactMissing):
            await attempt


async def test_damage_is_noticed(store, damage):
    digest, _ = await store.put(b"precious")
    damage(digest, b"precioux")
    with pytest.raises(ArtifactMissing, match="changed"):
        await store.get(digest)
    other, _ = await store.put(b"precious too")
    damage(other, b"precious two")
    with pytest.raises(ArtifactMissing, match="changed"):
        await collect(store.stream(other))
