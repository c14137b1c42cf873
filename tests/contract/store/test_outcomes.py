"""An outcome the database did not confirm is asked for again, never guessed."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine

import pytest
import pytest_asyncio

from runtime.engine.events import Kind
from runtime.engine.states import RunStatus
from runtime.errors import StoreUnavailable
from runtime.store.fsck import fsck
from runtime.store.open import Store, open_store
from runtime.store.postgres import PostgresDatabase
from runtime.store.protocol import AppendOutcome, ApprovalRow, MessageKind, RunQuery, SendOutcome, Submitted
from tests.contract.store.desk import Desk, Hand, key, message, new_run, tick
from tests.contract.store.faults import Cut, CuttingProxy, FailingCommit, cutting_proxy

both_cuts = pytest.mark.parametrize("cut", ["before", "after"])


@pytest.fixture
def failing(store: Store) -> FailingCommit:
    return FailingCommit(store)


@both_cuts
async def test_submit(desk: Desk, failing: FailingCommit, cut: Cut):
    run = new_run(key=key("k"))
    failing.plan = [cut]
    assert await desk.journal.submit([run]) == [Submitted(run.row.run_id, created=True)]
    assert (await desk.kinds(run.row.run_id), failing.failed) == (["run.created"], 1)


@both_cuts
async def test_claim(desk: Desk, failing: FailingCommit, cut: Cut):
    await desk.owner()
    ids = {await desk.submit() for _ in range(5)}
    failing.plan = [cut]
    claims = await desk.claim(limit=3)
    assert len(claims) == 3
    assert {claim.row.run_id for claim in claims} <= ids
    for claim in claims:
        assert claim.row == await desk.run(claim.row.run_id)
        assert claim.row.epoch == 1
    assert len(await desk.claim()) == 2


@both_cuts
async def test_append(desk: Desk, failing: FailingCommit, cut: Cut):
    hand, other = await desk.hold(), await desk.hold()
    failing.plan = [cut]
    outcomes = await asyncio.gather(hand.append((Kind.RUN_PAUSED, {}), status=RunStatus.PAUSED), other.end())
    assert outcomes == [AppendOutcome.COMMITTED] * 2
    assert (await desk.run(hand.run_id)).head == hand.head
    failing.plan = [cut]
    assert await hand.append(status=RunStatus.PAUSED, release=True, wake_at=3) is AppendOutcome.COMMITTED
    assert await fsck(desk.store) == []


@both_cuts
async def test_append_of_a_zombie_stays_fenced(desk: Desk, failing: FailingCommit, cut: Cut):
    zombie = await desk.hold("host-1")
    await desk.owner("host-2")
    await desk.claim("host-2", dead=["host-1"])
    failing.plan = [cut]
    outcomes = await asyncio.gather(zombie.end(), desk.submit())
    assert outcomes[0] is AppendOutcome.FENCED


@both_cuts
async def test_send(desk: Desk, failing: FailingCommit, cut: Cut):
    hand = await desk.hold()
    asked = ApprovalRow("q-" + hand.run_id, hand.run_id, "brief", "review", tick())
    await hand.append((Kind.APPROVAL_REQUESTED, {}), approvals=(asked,))
    queued = await desk.submit()
    failing.plan = [cut]
    outcomes = await asyncio.gather(
        desk.send(hand.run_id),
        desk.send(hand.run_id, MessageKind.APPROVAL, approval_id=asked.approval_id, approved=True),
        desk.send(queued, MessageKind.CANCEL),
        desk.send("nobody"),
    )
    assert outcomes == [SendOutcome.ACCEPTED, SendOutcome.ACCEPTED, SendOutcome.CANCELED, SendOutcome.MISSING]
    assert len(await desk.journal.inbox("host-1")) == 2
    assert await desk.kinds(queued) == ["run.created", "run.canceled"]


async def test_a_taker_over_between_the_tries_decides(desk: Desk, failing: FailingCommit, second: Store):
    """The append was lost before it was carried out, and before it is tried again somebody claims the run: it is fenced."""
    hand = await desk.hold("host-1")
    await desk.owner("host-2")
    taken = asyncio.Event()
    loop, pause = asyncio.get_running_loop(), desk.store.database.pause

    async def take_over() -> None:
        claims = await second.journal.claim("host-2", 1, run_ids=[hand.run_id], dead=["host-1"], now=1 << 50)
        assert len(claims) == 1
        taken.set()

    def pause_until_taken(seconds: float) -> None:
        if failing.failed and not taken.is_set():
            _wait(desk.store, loop, take_over)
        pause(seconds)

    desk.store.database.pause = pause_until_taken  # type: ignore[method-assign]
    failing.plan = ["before"]
    assert await hand.append((Kind.RUN_PAUSED, {}), status=RunStatus.PAUSED) is AppendOutcome.FENCED
    assert taken.is_set()
    assert await desk.kinds(hand.run_id) == ["run.created", "run.claimed", "run.started", "run.claimed"]


def _wait(store: Store, loop: asyncio.AbstractEventLoop, work: Callable[[], Coroutine[None, None, None]]) -> None:
    """Run a coroutine from inside the writer: in its thread on SQLite, in its greenlet on PostgreSQL."""
    if isinstance(store.database, PostgresDatabase):
        from sqlalchemy.util import await_only

        await_only(work())
    else:
        asyncio.run_coroutine_threadsafe(work(), loop).result()


async def test_an_outcome_that_stays_unknown_is_reported_as_such(desk: Desk, failing: FailingCommit, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(PostgresDatabase, "patience", 0.1)
    hand = await desk.hold()
    failing.plan = ["before"] * 1000
    with pytest.raises(StoreUnavailable, match="not known"):
        await hand.end()
    failing.plan = []
    assert await hand.end() is AppendOutcome.COMMITTED


async def test_a_store_that_cannot_write_is_not_ready_until_it_can(desk: Desk, failing: FailingCommit, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(PostgresDatabase, "patience", 0.1)
    await desk.store.ping()
    failing.plan = ["before"] * 1000
    with pytest.raises(StoreUnavailable):
        await desk.submit()
    run = await desk.journal.runs(RunQuery("acme"))
    assert run == [], "it can be read all the while"
    with pytest.raises(StoreUnavailable):
        await desk.store.ping()
    failing.plan = []
    await desk.store.ping()
    failed = failing.failed
    await desk.store.ping()
    assert failing.failed == failed


# --- the wire --------------------------------------------------------------------------------------------------------


@pytest_asyncio.fixture
async def proxied(postgres_url: str) -> AsyncIterator[tuple[Desk, CuttingProxy]]:
    """A store that reaches PostgreSQL through a proxy."""
    async with cutting_proxy(postgres_url) as proxy:
        name = postgres_url.partition("?")[0].rpartition("/")[2]
        user = postgres_url.partition("://")[2].partition("@")[0]
        store = await open_store(f"postgresql://{user}@127.0.0.1:{proxy.port}/{name}?ssl=disable")
        desk = Desk(store)
        await desk.clear()
        yield desk, proxy
        proxy.refusing = False
        await store.close()


@both_cuts
async def test_a_connection_cut_at_commit(proxied: tuple[Desk, CuttingProxy], cut: Cut):
    desk, proxy = proxied
    await desk.owner()
    for place in range(10):
        proxy.armed = cut
        run = new_run(key=key(f"k{place}"))
        assert await desk.journal.submit([run]) == [Submitted(run.row.run_id, created=True)]
        proxy.armed = cut
        (claim,) = await desk.claim("host-1", run.row.run_id)
        hand = Hand(desk.store, claim.row)
        proxy.armed = cut
        assert await hand.start() is AppendOutcome.COMMITTED
        proxy.armed = cut
        assert await desk.journal.send(message(hand.run_id)) is SendOutcome.ACCEPTED
        proxy.armed = cut
        assert await hand.end() is AppendOutcome.COMMITTED
    assert proxy.cuts == 50
    assert await fsck(desk.store) == []


async def test_a_database_that_is_away_and_comes_back(proxied: tuple[Desk, CuttingProxy], monkeypatch: pytest.MonkeyPatch):
    desk, proxy = proxied
    monkeypatch.setattr(PostgresDatabase, "patience", 0.2)
    hand = await desk.hold()
    proxy.refusing, proxy.armed = True, "before"
    with pytest.raises(StoreUnavailable, match="not known"):
        await hand.end()
    with pytest.raises(StoreUnavailable, match="nothing was changed"):
        await desk.submit()
    await desk.store.database.run_reader(desk.store.database.reader.dispose)
    with pytest.raises(StoreUnavailable):
        await desk.journal.run(hand.run_id)
    proxy.refusing = False
    assert await hand.end() is AppendOutcome.COMMITTED
    assert (await desk.run(hand.run_id)).status is RunStatus.SUCCEEDED
