"""Following runs: one reader per followed run and process, however many clients follow it.

Events are rows; a follower that falls behind what is kept here reads the rows, so nothing waits for a slow client.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from itertools import islice

from runtime.clock import Clock
from runtime.engine.events import RUN_ENDS, Event
from runtime.gateway.pauses import Pauses
from runtime.gateway.runner import Runner
from runtime.store.protocol import Journal

PAGE = 500
KEPT = 1000
"""Events of one run kept for its followers."""
WATCH_SECONDS = 10.0
LONGEST_DELAY = 1.0
"""Seconds between two looks at a run that nobody owns, such as one that waits for a person."""


class _Feed:
    """What one process knows of one run: its head, its last events, and whether it has ended."""

    def __init__(self, journal: Journal, runner: Runner, clock: Clock, run_id: str) -> None:
        self._journal, self._runner, self._run_id = journal, runner, run_id
        self.pauses = Pauses(clock, longest=LONGEST_DELAY)
        self._recent: deque[Event] = deque(maxlen=KEPT)
        self.news = asyncio.Event()
        self.head = 0
        self.ended = False
        self.failure: Exception | None = None
        self.followers = 0
        self.reader: asyncio.Task[None] | None = None

    async def page(self, after: int) -> list[Event]:
        """Up to PAGE events after `after`; empty when there are none yet."""
        if self._recent and self._recent[0].seq <= after + 1:
            start = after + 1 - self._recent[0].seq
            return list(islice(self._recent, start, start + PAGE))
        return await self._journal.events(self._run_id, after, PAGE)

    async def changed(self, news: asyncio.Event, timeout: float) -> bool:
        """Wait for news, noted before the last page was read. False after `timeout` seconds without. Raises what stopped the reader."""
        try:
            async with asyncio.timeout(timeout):
                await news.wait()
        except TimeoutError:
            return False
        self.check()
        return True

    def check(self) -> None:
        """Raise what stopped the reader, if anything did."""
        if self.failure is not None:
            raise self.failure

    async def read(self) -> None:
        """Read the run's new events until it has ended."""
        try:
            row = await self._journal.run(self._run_id)
            self.head, self.ended = (row.head, row.status.ended) if row else (0, True)
            self._tell()
            while not self.ended:
                await self._look()
        except Exception as error:  # noqa: BLE001 - not swallowed: every follower raises it
            self.failure = error
            self._tell()

    async def _look(self) -> None:
        """One look. The runner may answer at once because it does not know the run, so that looks need pauses."""
        async with self.pauses.at_least(WATCH_SECONDS):
            await self._runner.watch(self._run_id, self.head, WATCH_SECONDS)
            page = await self._journal.events(self._run_id, self.head, PAGE)
            if page:
                self._recent.extend(page)
                self.head, self.ended = page[-1].seq, page[-1].kind in RUN_ENDS
                self._tell()
                self.pauses.hurry()

    def _tell(self) -> None:
        self.news.set()
        self.news = asyncio.Event()


class Feeds:
    """The feeds of one process. A feed lives as long as somebody follows it."""

    def __init__(self, journal: Journal, runner: Runner, clock: Clock) -> None:
        self._journal, self._runner, self._clock = journal, runner, clock
        self._feeds: dict[str, _Feed] = {}

    def hurry(self, run_id: str) -> None:
        """The run was written to by this process: its followers should see the consequence soon."""
        if feed := self._feeds.get(run_id):
            feed.pauses.hurry()

    async def follow(self, run_id: str, after: int, idle: float) -> AsyncGenerator[list[Event], None]:
        """Batches of the run's events after seq `after`, without gap or repeat, until the last one of an ended run.

        An empty batch means that `idle` seconds went by without an event. Raises StoreUnavailable.
        """
        feed = self._join(run_id)
        try:
            while True:
                feed.check()
                # Noted before the page is read: what comes between the two is seen in the next round.
                ended, news = feed.ended, feed.news
                page = await feed.page(after)
                if page:
                    after = page[-1].seq
                    yield page
                    if page[-1].kind in RUN_ENDS:
                        return
                elif ended:
                    return  # also when rows are missing: the run was removed while it was being read
                elif not await feed.changed(news, idle):
                    yield []
        finally:
            self._leave(run_id, feed)

    def _join(self, run_id: str) -> _Feed:
        feed = self._feeds.get(run_id)
        if feed is None or feed.failure is not None:
            feed = self._feeds[run_id] = _Feed(self._journal, self._runner, self._clock, run_id)
            feed.reader = asyncio.create_task(feed.read(), name=f"follow {run_id}")
        feed.followers += 1
        return feed

    def _leave(self, run_id: str, feed: _Feed) -> None:
        feed.followers -= 1
        if feed.followers == 0:
            if self._feeds.get(run_id) is feed:
                del self._feeds[run_id]
            if feed.reader is not None:
                feed.reader.cancel()
