"""Connections to PostgreSQL that break anywhere, and most of all around COMMIT: whatever a caller is told, is so."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

import pytest
import pytest_asyncio

from runtime.errors import StoreUnavailable
from runtime.store.fsck import fsck
from runtime.store.open import open_store
from runtime.store.protocol import AppendOutcome, SendOutcome
from tests.chaos.tools.proxy import IN_COMMIT, Cut, PostgresProxy
from tests.contract.conftest import socket_folder
from tests.contract.store.desk import Desk, Hand, key, message, new_run


@pytest_asyncio.fixture
async def proxied(postgres_url: str) -> AsyncIterator[tuple[Desk, PostgresProxy]]:
    """A store that reaches PostgreSQL through the proxy."""
    parts = urlsplit(postgres_url)
    with PostgresProxy(parts.hostname, parts.port or 5432, socket_folder=socket_folder(postgres_url), seed=1) as proxy:
        store = await open_store(f"postgresql://{parts.username}@127.0.0.1:{proxy.port}{parts.path}?ssl=disable")
        desk = Desk(store)
        await desk.clear()
        yield desk, proxy
        proxy.chances = {}
        await store.close()


@pytest.mark.parametrize("cut", IN_COMMIT)
async def test_one_commit_after_the_other(proxied: tuple[Desk, PostgresProxy], cut: Cut):
    desk, proxy = proxied
    await desk.owner()
    for place in range(8):
        proxy.arm(cut)
        run = new_run(key=key(f"k{place}"))
        (submitted,) = await desk.journal.submit([run])
        assert (submitted.run_id, submitted.created) == (run.row.run_id, True)
        proxy.arm(cut)
        (claim,) = await desk.claim("host-1", submitted.run_id)
        hand = Hand(desk.store, claim.row)
        proxy.arm(cut)
        assert await hand.start() is AppendOutcome.COMMITTED
        proxy.arm(cut)
        assert await desk.journal.send(message(hand.run_id)) is SendOutcome.ACCEPTED
        proxy.arm(cut)
        assert await hand.end() is AppendOutcome.COMMITTED
        assert await desk.kinds(hand.run_id) == ["run.created", "run.claimed", "run.started", "run.succeeded"]
    assert proxy.counts == {cut: 40}
    assert await fsck(desk.store) == []


async def _insist(work: Callable[[], Awaitable[Any]]) -> Any:
    """Ask again whenever the store says that it does not know; it says so in one way only."""
    while True:
        try:
            return await work()
        except StoreUnavailable as failure:
            if failure.retry_after is None:
                raise


async def _life(desk: Desk, owner: str) -> str:
    """Register an owner, submit one run, claim it and end it; its id."""
    await _insist(lambda: desk.owner(owner))
    run = new_run(key=key(owner))
    (submitted,) = await _insist(lambda: desk.journal.submit([run]))
    claims = await _insist(lambda: desk.claim(owner, submitted.run_id))
    # No claim: an earlier one was carried out, and we were told that nobody knew. The run then is ours.
    row = claims[0].row if claims else await _insist(lambda: desk.journal.run(submitted.run_id))
    assert row.owner == owner
    hand = Hand(desk.store, row)
    assert await _insist(hand.start) is AppendOutcome.COMMITTED
    assert await _insist(hand.end) is AppendOutcome.COMMITTED
    return hand.run_id


async def test_many_at_once_while_it_rains(proxied: tuple[Desk, PostgresProxy]):
    """Group commits of many callers, reads and writes cut by chance, and every connection cut at once now and then."""
    desk, proxy = proxied
    proxy.chances = {Cut.ANYWHERE: 0.02, Cut.BEFORE_COMMIT: 0.15, Cut.COMMIT_SENT: 0.15, Cut.COMMIT_LOST: 0.15}
    ended: list[str] = []
    while sum(proxy.counts[cut] for cut in IN_COMMIT) < 30:
        lives = [_life(desk, f"host-{len(ended) + place}") for place in range(8)]
        ended += await asyncio.gather(*lives, asyncio.to_thread(proxy.cut_all))
        ended.pop()
    proxy.chances = {}
    for run_id in ended:
        assert await desk.kinds(run_id) == ["run.created", "run.claimed", "run.started", "run.succeeded"]
    assert await fsck(desk.store) == []


async def test_a_slow_database_is_only_slow(proxied: tuple[Desk, PostgresProxy]):
    desk, proxy = proxied
    proxy.delay = 0.1
    hand = await desk.hold()
    assert await hand.end() is AppendOutcome.COMMITTED
    proxy.delay = 0
    assert await fsck(desk.store) == []
