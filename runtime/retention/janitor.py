"""The janitor: every few minutes, what has had its time goes. It decides nothing that matters: without it, rows only grow old."""

import asyncio
import random
from collections.abc import Awaitable, Callable

import structlog

from runtime.artifacts.protocol import ArtifactStore
from runtime.clock import Clock
from runtime.errors import AgenticError
from runtime.retention.collector import Collector
from runtime.retention.pruner import PAUSE_SECONDS, Pruner, Tally
from runtime.retention.rules import DAY_MS, by_age, by_size
from runtime.settings import Settings
from runtime.store.retention import SqlRetention

log = structlog.get_logger(__name__)

ROUND_SECONDS = 300.0
KEY_MS = 90 * DAY_MS
"""How long API keys that expired or were revoked stay visible in lists."""
TICKET_MS = 3_600_000
"""How long stream tickets stay after they expired: they are used once, within a minute."""
WORKFLOW_MS = 30 * DAY_MS
"""How long the versions of a deleted workflow stay at least, so that publishing it again goes on counting."""


class Janitor:
    """`run()` for ever, or `round()` once. Several janitors on one database do no harm. The clock says what is old."""

    def __init__(self, store: SqlRetention, artifacts: ArtifactStore, settings: Settings, clock: Clock, *, pause: float = PAUSE_SECONDS) -> None:
        self._store = store
        self._settings = settings
        self._clock = clock
        self._pause = pause
        self._pruner = Pruner(store, pause=pause)
        self._collector = Collector(store, artifacts, clock, round(settings.artifact_grace_hours * 3_600_000))

    async def run(self) -> None:
        """A round every five minutes, more or less, so that janitors that started together do not meet each time. Ends when canceled."""
        while True:
            await asyncio.sleep(ROUND_SECONDS * random.uniform(0.2, 1.0))  # noqa: S311 - only to spread the rounds
            try:
                await self.round()
            except AgenticError as failure:
                log.warning("retention_round_failed", error=str(failure))
            except Exception:  # the border of this loop: nobody would notice for months that nothing goes any more
                log.exception("retention_round_broken")

    async def round(self) -> Tally:
        """Do everything that is due; the runs that went. Raises StoreUnavailable; what was done until then stays done."""
        now = self._clock.now()
        await self._pruner.clear()
        own = await self._store.own_times()
        tally = await self._pruner.prune(by_age(self._settings.retention, own, now))
        if self._settings.retention_max_bytes is not None:
            more = await self._pruner.make_room(by_size(self._settings.retention, own, now), self._settings.retention_max_bytes)
            tally.add(more.runs, more.events, more.size)
        if tally.runs:
            log.info("runs_pruned", runs=tally.runs, events=tally.events, bytes=tally.size)
        await self._sweep(now)
        collected = await self._collector.round()
        if collected.set_aside or collected.put_back or collected.erased:
            log.info("artifacts_collected", set_aside=collected.set_aside, put_back=collected.put_back, erased=collected.erased)
        return tally

    async def _sweep(self, now: int) -> None:
        """Small rows, a portion at a time."""
        await self._until_none(lambda: self._store.expired_keys(now))
        await self._until_none(lambda: self._store.old_keys(keys=now - KEY_MS, tickets=now - TICKET_MS))
        await self._until_none(lambda: self._store.forgotten_workflows(now - WORKFLOW_MS))
        await self._until_none(lambda: self._store.expired_answers(now))
        await self._until_none(lambda: self._store.surplus_answers(self._settings.call_cache_max_bytes))
        days = self._settings.conversation_days
        if days is not None:
            await self._until_none(lambda: self._store.old_conversations(now - round(days * DAY_MS)))
        kept = self._settings.ledger_days
        if kept is not None:
            await self._until_none(lambda: self._store.old_calls(now - round(kept * DAY_MS)))

    async def _until_none(self, portion: Callable[[], Awaitable[int]]) -> None:
        while await portion():  # noqa: ASYNC110 - the pause is for others who write; there is no event to wait for
            await asyncio.sleep(self._pause)
