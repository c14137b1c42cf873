"""Courier: takes what is due out of the outbox, sends it, notes what became of it. Any number may run at once.

A delivery is taken under a lease. A courier that dies with it, or before it could note the outcome, leaves it to the next one when the lease
ends: the receiver then gets the same message with the same id again.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

from runtime.clock import Clock
from runtime.courier.schedule import settled
from runtime.courier.sender import Sender
from runtime.errors import Overloaded, StoreUnavailable
from runtime.failpoints import AnswerLost, reach
from runtime.store.webhooks import DeliveryState, Outbox, Parcel

log = structlog.get_logger(__name__)

POLL_SECONDS = 0.5
LEASE_MS = 60_000
"""Much longer than a try may take."""
AT_ONCE = 256
"""Tries under way; beyond it an endpoint may still have one, so that none waits for the slowness of others."""
PER_ENDPOINT = 8
KEEP_MS = 30 * 86_400_000
"""How long a delivery is kept after it has ended."""
PRUNE_SECONDS = 3_600.0
PRUNE_AT_ONCE = 1_000


class Courier:
    """`start` and `stop`; or `round` after `round`, for whoever wants to see each."""

    def __init__(self, outbox: Outbox, sender: Sender, clock: Clock, *, chance: Callable[[], float] = random.random) -> None:
        self._outbox = outbox
        self._sender = sender
        self._clock = clock
        self._chance = chance
        self._busy: Counter[str] = Counter()
        self._sending: set[asyncio.Task[None]] = set()
        self._freed = asyncio.Event()
        self._loops: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin; needs the running loop."""
        self._loops = [asyncio.create_task(self._send_forever(), name="courier"), asyncio.create_task(self._prune_forever(), name="courier-prune")]

    async def stop(self, grace: float = 5.0) -> None:
        """Send what is due at this moment, as far as it goes within `grace` seconds. The rest stays in the outbox."""
        for loop in self._loops:
            loop.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)
        try:
            async with asyncio.timeout(grace):
                while await _tolerant(self._take()) or self._sending:
                    await asyncio.wait(self._sending, return_when=asyncio.FIRST_COMPLETED)
        except TimeoutError:
            log.info("deliveries_left", count=len(self._sending))
        for task in self._sending:
            task.cancel()
        await asyncio.gather(*self._sending, return_exceptions=True)
        await self._sender.close()

    async def round(self) -> int:
        """Take what is due now, wait until it is sent and noted; how many it was."""
        count = await self._take()
        await asyncio.gather(*self._sending)
        return count

    async def _send_forever(self) -> None:
        while True:
            self._freed.clear()
            if not await _tolerant(self._take()):
                await self._pause()

    async def _pause(self) -> None:
        """Until a place is free again, or something may have become due."""
        try:
            await asyncio.wait_for(self._freed.wait(), POLL_SECONDS)
        except TimeoutError:
            return

    async def _take(self) -> int:
        """Begin to send what is due and has room; how many that is."""
        now = self._clock.now()
        wanted = self._room(await self._outbox.due(now))
        if not wanted:
            return 0
        parcels = await self._outbox.take(wanted, now=now, lease_ms=LEASE_MS)
        for parcel in parcels:
            self._busy[parcel.endpoint.endpoint_id] += 1
            task = asyncio.create_task(self._deliver(parcel))
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)
        return len(parcels)

    def _room(self, due: list[str]) -> dict[str, int]:
        """How many of each endpoint may be begun, those with the fewest under way first."""
        room, wanted = AT_ONCE - len(self._sending), {}
        for endpoint in sorted(due, key=lambda each: self._busy[each]):
            share = min(PER_ENDPOINT - self._busy[endpoint], max(room, 0 if self._busy[endpoint] else 1))
            if share > 0:
                wanted[endpoint] = share
                room -= share
        return wanted

    async def _deliver(self, parcel: Parcel) -> None:
        delivery = parcel.delivery
        try:
            answer = await self._sender.send(parcel)
            reach("outbox.after_send", delivery.id)
            outcome = settled(delivery, answer, self._clock.now(), self._chance())
            await self._outbox.settle(outcome)
            if outcome.state is DeliveryState.GIVEN_UP:
                log.warning("delivery_given_up", endpoint=delivery.endpoint_id, delivery=delivery.id, error=outcome.error)
        except (StoreUnavailable, Overloaded, AnswerLost) as failure:
            log.warning("delivery_not_noted", delivery=delivery.id, error=str(failure))
        except Exception:
            # One message must not stop the others; its lease ends, and it is tried again.
            log.exception("delivery_broken", delivery=delivery.id)
        finally:
            self._busy[delivery.endpoint_id] -= 1
            self._freed.set()

    async def _prune_forever(self) -> None:
        while True:
            pruned = PRUNE_AT_ONCE
            while pruned == PRUNE_AT_ONCE:
                pruned = await _tolerant(self._outbox.prune(self._clock.now() - KEEP_MS, PRUNE_AT_ONCE))
            await asyncio.sleep(PRUNE_SECONDS)


async def _tolerant(work: Coroutine[Any, Any, int]) -> int:
    """The result; 0 while the database does not answer."""
    try:
        return await work
    except (StoreUnavailable, Overloaded) as failure:
        log.warning("outbox_unavailable", error=str(failure))
        return 0
