"""The collector takes what no run refers to, and never what a journal names, whoever writes at the same moment."""

import asyncio
import random
from dataclasses import replace
from pathlib import Path

import pytest

from runtime.artifacts.local import LocalArtifacts
from runtime.clock import SystemClock
from runtime.engine.events import Event, Kind
from runtime.errors import ArtifactMissing, NotFound
from runtime.references import reference
from runtime.retention.collector import Collected, Collector
from runtime.retention.pruner import Pruner
from runtime.retention.rules import by_hand
from runtime.store.catalog_protocol import ArtifactRow
from runtime.store.open import Store
from runtime.store.protocol import AppendOutcome, NewRun
from tests.contract.store.desk import Desk, Hand, new_run, tick

HOUR = 3_600_000
GRACE = 24 * HOUR
LATER = 1 << 50


@pytest.fixture
def artifacts(tmp_path: Path):
    opened = LocalArtifacts(tmp_path)
    yield opened
    opened.close()


class Clock:
    """As many hours after now as it is told."""

    def __init__(self) -> None:
        self.start = SystemClock().now()
        self.hours = 0.0

    def now(self) -> int:
        return self.start + round(self.hours * HOUR)

    def monotonic(self) -> float:
        return self.now() / 1000


class Rounds:
    """A collector, and a clock to move between its rounds."""

    def __init__(self, store: Store, artifacts: LocalArtifacts) -> None:
        self.clock = Clock()
        self.again = lambda: Collector(store.retention, artifacts, self.clock, GRACE)
        self.collector = self.again()

    async def at(self, hours: float) -> Collected:
        self.clock.hours = hours
        return await self.collector.round()


@pytest.fixture
def collector(store: Store, artifacts: LocalArtifacts) -> Rounds:
    return Rounds(store, artifacts)


async def naming(desk: Desk, digest: str) -> Hand:
    """A run whose journal refers to this content."""
    hand = await desk.hold()
    outcome = await hand.append((Kind.STEP_SUCCEEDED, {"step": "a", "body": {"output": reference(digest, 9)}}))
    assert outcome is AppendOutcome.COMMITTED
    return hand


async def test_content_goes_a_day_after_it_was_set_aside(desk: Desk, artifacts: LocalArtifacts, collector: Rounds):
    digest, _ = await artifacts.put(b"never named")
    assert await collector.at(23) == Collected(), "whoever stored it may be about to name it"
    assert await collector.at(25) == Collected(set_aside=1)
    assert await artifacts.get(digest) == b"never named"
    assert await collector.at(48) == Collected()
    assert await collector.at(51) == Collected(erased=1)
    with pytest.raises(ArtifactMissing):
        await artifacts.get(digest)


async def test_named_content_stays_until_its_last_run_is_gone(store: Store, desk: Desk, artifacts: LocalArtifacts, collector: Rounds):
    value, _ = await artifacts.put(b"a value of two runs")
    named, _ = await artifacts.put(b"a named artifact")
    first, second = await naming(desk, value), await naming(desk, value)
    await store.catalog.put_artifact(ArtifactRow(second.run_id, "a.md", named, 16, "text/plain", 1))
    assert await collector.at(1000) == Collected()
    await first.end()
    assert (await Pruner(store.retention, pause=0).prune(by_hand([], LATER))).runs == 1
    assert await collector.at(1000) == Collected()
    await second.end()
    assert (await Pruner(store.retention, pause=0).prune(by_hand([], LATER))).runs == 1
    assert await collector.at(1000) == Collected(set_aside=2)
    assert await collector.at(1026) == Collected(erased=2)


async def test_a_name_that_moved_on_frees_its_old_content(store: Store, desk: Desk, artifacts: LocalArtifacts, collector: Rounds):
    old, _ = await artifacts.put(b"first attempt")
    new, _ = await artifacts.put(b"second attempt")
    run = await desk.submit()
    for digest in (old, new):
        await store.catalog.put_artifact(ArtifactRow(run, "a.md", digest, 13, "text/plain", 1))
    await collector.at(25)
    await collector.at(51)
    assert await artifacts.size(old) is None
    assert await artifacts.get(new) == b"second attempt"


async def test_content_stored_again_while_it_is_being_removed_stays(desk: Desk, artifacts: LocalArtifacts, collector: Rounds):
    """`put` trusts what is in its place; then it is set aside, and only then named."""
    digest, _ = await artifacts.put(b"popular")
    assert await artifacts.put(b"popular") == (digest, 7)
    assert await collector.at(25) == Collected(set_aside=1)
    await naming(desk, digest)
    assert await artifacts.get(digest) == b"popular"
    assert await collector.at(51) == Collected(put_back=1)
    assert await collector.at(75) == Collected()
    assert await artifacts.get(digest) == b"popular"


async def test_content_stored_anew_after_it_was_set_aside_stays(desk: Desk, artifacts: LocalArtifacts, collector: Rounds):
    digest, _ = await artifacts.put(b"popular")
    await collector.at(25)
    await artifacts.put(b"popular")
    await naming(desk, digest)
    await collector.at(51)
    await collector.at(80)
    assert await artifacts.get(digest) == b"popular"


async def test_a_fork_keeps_what_its_source_named_and_comes_too_late_when_that_is_gone(store: Store, desk: Desk, artifacts: LocalArtifacts, collector: Rounds):
    digest, _ = await artifacts.put(b"reused")
    source = await naming(desk, digest)
    await source.end()

    def fork() -> NewRun:
        run = new_run(forked_from=source.run_id, head=2)
        return NewRun(run.row, (*run.events, Event(2, 0, Kind.STEP_REUSED, tick(), "a", None, {"output": reference(digest, 6), "from": source.run_id})))

    await desk.journal.submit([fork()])
    await desk.journal.remove(source.run_id)
    await collector.at(25)
    await collector.at(51)
    assert await artifacts.get(digest) == b"reused"
    with pytest.raises(NotFound):
        await desk.journal.submit([fork()])


async def test_a_message_that_waits_keeps_what_it_names(desk: Desk, artifacts: LocalArtifacts, collector: Rounds):
    digest, _ = await artifacts.put(b"payload")
    await desk.send(await desk.submit(), name="ping", payload=reference(digest, 7))
    assert await collector.at(1000) == Collected()


async def test_a_crash_between_two_steps_leaves_work_and_nothing_else(store: Store, artifacts: LocalArtifacts, collector: Rounds, monkeypatch):
    digests = [(await artifacts.put(f"garbage {n}".encode()))[0] for n in range(5)]
    whole = artifacts.set_aside
    left = iter(range(2))

    async def dies(digest: str, at: int) -> None:
        if next(left, None) is None:
            raise ConnectionError("killed")
        await whole(digest, at)

    monkeypatch.setattr(artifacts, "set_aside", dies)
    with pytest.raises(ConnectionError):
        await collector.at(25)
    monkeypatch.undo()
    for hours, done in ((26, Collected(set_aside=3)), (52, Collected(erased=5))):
        collector.collector = collector.again()
        assert await collector.at(hours) == done
    assert [await artifacts.size(digest) for digest in digests] == [None] * 5


@pytest.mark.parametrize("seed", range(3))
async def test_racing_writers_and_collectors_lose_nothing_that_is_named(store: Store, second: Store, desk: Desk, artifacts: LocalArtifacts, seed: int):
    """Hours pass between the rounds of two collectors; writers store, name, end and remove runs of the same few contents all the while.

    Time passes as it is promised: nobody takes longer than the grace from storing content to naming it.
    """
    chance = random.Random(seed)
    contents = [f"content {n}".encode() for n in range(4)]
    named: dict[str, str] = {}
    storing: dict[int, float] = {}
    clock = Clock()
    clock.hours = 25

    async def write(writer: int) -> None:
        for _ in range(20):
            data = chance.choice(contents)
            storing[writer] = clock.hours
            digest, _ = await artifacts.put(data)
            for _ in range(chance.randrange(20)):
                await artifacts.size(digest)  # let the collectors come in between
            hand = await naming(desk, digest)
            del storing[writer]
            named[hand.run_id] = digest
            assert await artifacts.get(digest) == data
            if chance.random() < 0.7:
                await hand.end()
                del named[hand.run_id]
                await desk.journal.remove(hand.run_id)

    collectors = [Collector(each.retention, artifacts, clock, GRACE) for each in (store, second)]
    writers = asyncio.gather(*map(write, range(4)))
    while not writers.done():
        clock.hours = min(clock.hours + 13, *(began + 23.9 for began in storing.values()), 1e6)
        await asyncio.gather(*(collector.round() for collector in collectors))
    await writers
    for _ in range(4):
        clock.hours += 26
        await collectors[0].round()
    assert set(named.values()) == {item.digest for item in await artifacts.stored()}
    for digest in named.values():
        assert await artifacts.get(digest) in contents


async def test_a_large_store_is_seen_page_by_page(store: Store, artifacts: LocalArtifacts, monkeypatch):
    from runtime.retention import collector as module

    monkeypatch.setattr(module, "PAGE", 2)
    monkeypatch.setattr(module, "PAGES", 2)
    for n in range(9):
        await artifacts.put(f"garbage {n}".encode())
    collector = Rounds(store, artifacts)
    rounds = [(await collector.at(25)).set_aside for _ in range(3)]
    assert rounds == [4, 4, 1]
    assert replace(Collected(), erased=9) == await collector.at(51)
