"""How runs come to a host: nudges, a look around every second, the runs of dead owners, and what a lost answer left behind."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence

import structlog

from runtime.clock import Clock
from runtime.engine.states import RunStatus
from runtime.errors import StoreUnavailable
from runtime.host.waiting import either
from runtime.store.protocol import Append, Claim, Journal, Message, RunQuery, RunRow

log = structlog.get_logger(__name__)

CLAIM_BATCH = 100
POLL_SECONDS = 1.0
"""How often work is looked for when no nudge comes: nudges are hints and may be lost."""
AUDIT_SECONDS = 10.0
AUDIT_PAGE = 500


class Intake:
    """Claims runs and hands them to `adopt`, as long as there is `room`.

    `shared`: leave runs that want an actor of their own alone. `dedicated_to`: take this run and no other.
    """

    def __init__(
        self,
        journal: Journal,
        owner: str,
        clock: Clock,
        *,
        room: Callable[[], int],
        adopt: Callable[[Claim, Sequence[Message]], Awaitable[None]],
        first: Callable[[Claim], Append | None],
        opened: Callable[[Claim], bool],
        keeps: Callable[[str], bool],
        shared: bool,
        dedicated_to: str | None,
    ) -> None:
        self._journal = journal
        self._owner = owner
        self._clock = clock
        self._room = room
        self._adopt = adopt
        self._first = first
        self._opened = opened
        self._keeps = keeps
        self._shared = shared
        self._dedicated_to = dedicated_to
        self._wanted: dict[str, None] = {}
        self._dead: set[str] = set()
        self._sweep = True
        self._sweep_at = 0.0
        self._now = asyncio.Event()
        self._orphans: set[str] = set()
        self.arriving: set[str] = set()
        """Claimed, and not yet in memory."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._claiming = False

    @property
    def busy(self) -> bool:
        """Whether runs are being claimed or brought in, or wanted."""
        return bool(self._claiming or self._wanted or self._now.is_set() or self._tasks)

    def want(self, run_ids: Iterable[str] = ()) -> None:
        """Claim these soon."""
        self._wanted.update(dict.fromkeys(run_ids))
        self._now.set()

    def look_around(self, dead: Iterable[str] = ()) -> None:
        """Claim what nobody has, and what these dead owners had."""
        self._dead.update(dead)
        self._sweep = True
        self._now.set()

    async def claim(self) -> None:
        """Wait for a reason to claim, then claim all there is.

        The look around has a clock of its own: where nudges come in crowds, what none of them names would wait for a quiet second.
        """
        now = asyncio.get_running_loop().time
        await either(self._now, max(0.0, self._sweep_at - now()))
        self._now.clear()
        self._claiming = True
        try:
            await self._claim_all(now())
        finally:
            self._claiming = False

    async def _claim_all(self, now: float) -> None:
        if now >= self._sweep_at:
            self._sweep, self._sweep_at = True, now + POLL_SECONDS
        if self._dedicated_to is not None:
            await self._take([self._dedicated_to])
            return
        while self._wanted and self._free():
            wanted = list(itertools.islice(self._wanted, min(CLAIM_BATCH, self._free())))
            for run_id in wanted:
                del self._wanted[run_id]
            await self._take(wanted)
        while self._sweep and self._free():
            self._sweep = await self._take([]) == CLAIM_BATCH
            if self._dead and not self._sweep:
                await self._bury()

    async def tend_slots(self) -> None:
        """Once a second, have slots given away that a run left free while everybody else's hands were on those who wait."""
        await asyncio.sleep(POLL_SECONDS)
        if self._dedicated_to is None:
            await self._journal.grant_slots()

    async def audit(self) -> None:
        """Take up runs that are ours in the database and not in memory: an answer of the database may have been lost."""
        await asyncio.sleep(AUDIT_SECONDS)
        found: set[str] = set()
        async for row in self._owned():
            if self._keeps(row.run_id) or row.run_id in self.arriving:
                continue
            found.add(row.run_id)
            if row.run_id in self._orphans:  # missing twice in a row: not a claim that is just coming in
                log.warning("run_without_keeper", run_id=row.run_id)
                await self.reload(row)
        self._orphans = found

    async def reload(self, known: RunRow) -> None:
        """Read a run anew and hand it over again if it is still ours; what was in memory is forgotten."""
        row = await self._journal.run(known.run_id)
        if row is not None and row.owner == self._owner and row.epoch == known.epoch and not row.status.ended:
            mail = [message for message in await self._journal.inbox(self._owner) if message.run_id == row.run_id]
            await self._bring(Claim(row), mail)

    async def close(self) -> None:
        """Stop bringing runs in."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _free(self) -> int:
        return max(0, self._room() - len(self.arriving))

    async def _take(self, run_ids: Sequence[str]) -> int:
        """Claim a batch; returns how many came."""
        free = self._free()
        claims = await self._journal.claim(
            self._owner,
            min(free, CLAIM_BATCH),
            run_ids=run_ids,
            dead=sorted(self._dead),
            shared=self._shared,
            fair=free < CLAIM_BATCH,  # nearly full: what is left behind now may wait long, so no workflow may fill all places
            now=self._clock.now(),
            first=self._first,
        )
        rest = [claim for claim in claims if not self._opened(claim)]
        mail = await self._mail(rest)
        for claim in rest:
            task = asyncio.get_running_loop().create_task(self._bring(claim, mail.get(claim.row.run_id, [])))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return len(claims)

    async def _bring(self, claim: Claim, mail: Sequence[Message]) -> None:
        """Hand a run to the host; while the database is away, again and again."""
        self.arriving.add(claim.row.run_id)
        try:
            while True:
                try:
                    return await self._adopt(claim, mail)
                except StoreUnavailable as failure:
                    log.warning("store_unavailable", run_id=claim.row.run_id, error=str(failure))
                    await asyncio.sleep(POLL_SECONDS)
        finally:
            self.arriving.discard(claim.row.run_id)

    async def _mail(self, claims: Sequence[Claim]) -> dict[str, list[Message]]:
        """What waits in the inboxes of runs that were claimed because of it: read before their first turn, which would give them up again."""
        mail: dict[str, list[Message]] = {}
        if any(claim.row.status is not RunStatus.QUEUED or claim.row.cancel_requested_at is not None for claim in claims):
            for message in await self._journal.inbox(self._owner):
                mail.setdefault(message.run_id, []).append(message)
        return mail

    async def _bury(self) -> None:
        """Nothing of these owners is left to claim here; their rows go, so that one who only slept learns of it."""
        dead = sorted(self._dead)
        await self._journal.bury(dead, now=self._clock.now())
        self._dead.difference_update(dead)
        log.info("owners_buried", owners=dead)

    async def _owned(self) -> AsyncIterator[RunRow]:
        """What the database says is ours."""
        before: str | None = None
        while True:
            page = await self._journal.runs(RunQuery(None, owner=self._owner, before=before, limit=AUDIT_PAGE))
            for row in page:
                yield row
            if len(page) < AUDIT_PAGE:
                return
            before = page[-1].run_id
