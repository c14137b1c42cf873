"""The limiter as a process that asks models has it: it asks the desk in batches, and only for spots that something limits."""

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from runtime.errors import StepFailed
from runtime.limits.adaptive import Recent
from runtime.limits.gate import Learned
from runtime.limits.messages import Answer, Ask, Batch, News, Place, Spot, Where
from runtime.lru import Lru

GATHER_SECONDS = 0.02
"""Between two batches: a hundred calls a second cost a few dozen messages."""
RETRY_SECONDS = 0.2
MAX_SPOTS = 10_000

Exchange = Callable[[Batch], Awaitable[Answer]]
"""Says something to the desk and hears its answer. Never raises: with nobody there, the answer is `again`."""


@dataclass(slots=True, eq=False)
class _Wait:
    ask: Ask
    until: float
    future: "asyncio.Future[None]"


@dataclass(frozen=True, slots=True)
class Permit:
    """Leave for one request. `number` is None when nothing limits it."""

    spot: Spot
    number: int | None
    tokens: int
    """That it was said to take."""
    since: float
    """When it was given."""


class Limiter:
    """Belongs to one event loop. While the desk is away, whoever needs leave waits; what nothing limits goes on."""

    def __init__(
        self,
        exchange: Exchange,
        holder: str,
        *,
        waited: Callable[[str, float], None] | None = None,
        refused: Callable[[str], None] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`holder`: this process, by a name no other ever had. `waited` and `refused` are told of each wait (provider, seconds) and each refusal."""
        self._exchange, self._holder, self._monotonic = exchange, holder, monotonic
        self._on_wait, self._on_refusal = waited, refused
        self._numbers, self._serials = itertools.count(1), itertools.count(1)
        self._waiting: dict[int, _Wait] = {}
        self._held: dict[int, Permit] = {}
        self._asks_held: dict[int, Ask] = {}
        self._new: dict[int, None] = {}
        self._withdrawn: list[int] = []
        self._news: list[News] = []
        self._known: Lru[Where, tuple[Learned, float]] = Lru(MAX_SPOTS)
        self._answers: Lru[Where, Recent] = Lru(MAX_SPOTS)
        self._limited: Lru[Where, bool] = Lru(MAX_SPOTS)
        self._introduced = False
        self._talk: asyncio.Task[None] | None = None
        self._calls: set[asyncio.Task[None]] = set()
        self._stir = asyncio.Event()

    def limited(self, spot: Spot) -> bool:
        """Whether anything limits requests to this spot, as far as it is known here."""
        return spot.limits.some or self._limited.get(spot.where) is True

    async def permit(self, spot: Spot, run: str, tokens: int, within: float) -> Permit:
        """Leave for one request of this run that takes about so many tokens; `ended` must be told of its end.

        Returns at once when nothing limits it, else when it is its turn. Raises StepFailed `rate_limited` after `within` seconds, or at once
        when the provider does not want to be asked for longer than that. A caller that is canceled gives its place up.
        """
        now = self._monotonic()
        if not self.limited(spot):
            return Permit(spot, None, tokens, now)
        wait = _Wait(Ask(next(self._numbers), spot, run, tokens), now + within, asyncio.get_running_loop().create_future())
        number = wait.ask.number
        self._check(wait, now)
        self._waiting[number] = wait
        self._new[number] = None
        self._speak()
        try:
            async with asyncio.timeout(within):
                await wait.future
        except BaseException as error:
            self._give_up(number)
            if not isinstance(error, TimeoutError):
                raise
            raise StepFailed("rate_limited", f"the limiter had no place for a request to {spot.key.provider} within {within:g} s") from None
        since = self._monotonic()
        if self._on_wait is not None:
            self._on_wait(spot.key.provider, since - now)
        permit = self._held[number] = Permit(spot, number, tokens, since)
        return permit

    def ended(self, permit: Permit, news: News) -> None:
        """The request is over. `news` says how; what it says about the permit is filled in here."""
        now, spot = self._monotonic(), permit.spot
        recent = self._recent(spot)
        if news.refused and self._on_refusal is not None:
            self._on_refusal(spot.key.provider)
        if not news.refused and news.pause is None:
            recent.add(now)
        if permit.number is not None:
            self._held.pop(permit.number, None)
            self._asks_held.pop(permit.number, None)
        elif news.seen is None and not news.refused and news.pause is None:
            return
        self._limited.put(spot.where, True)  # noqa: FBT003 - the value of an entry
        self._news.append(replace(news, number=permit.number, age=now - permit.since, pace=recent.per_minute(now)))
        # A moment later: as a rule the next request follows at once, and both are said together.
        asyncio.get_running_loop().call_later(GATHER_SECONDS, self._speak)

    def heard(self, limited: tuple[Where, ...]) -> None:
        """These spots are limited by what other processes have learned."""
        for where in limited:
            self._limited.put(where, True)  # noqa: FBT003 - as above

    async def close(self) -> None:
        """Say nothing more; what was held is free when the desk finds this process silent."""
        tasks = [task for task in (self._talk, *self._calls) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _give_up(self, number: int) -> None:
        self._waiting.pop(number, None)
        self._asks_held.pop(number, None)
        if number in self._new:
            del self._new[number]  # it was never said
        else:
            self._withdrawn.append(number)
        self._speak()

    def _recent(self, spot: Spot) -> Recent:
        found = self._answers.get(spot.where)
        if found is None:
            found = Recent()
            self._answers.put(spot.where, found)
        return found

    def _speak(self) -> None:
        self._stir.set()
        if self._talk is None or self._talk.done():
            self._talk = asyncio.get_running_loop().create_task(self._converse())

    async def _converse(self) -> None:
        """Say what there is to say, and keep a question open for as long as something waits or is out."""
        while self._waiting or self._held or self._asks_held or self._news or self._withdrawn:
            self._stir.clear()
            call = asyncio.create_task(self._say(self._batch()))
            self._calls.add(call)
            call.add_done_callback(self._calls.discard)
            stirred = asyncio.create_task(self._stir.wait())
            try:
                await asyncio.wait((call, stirred), return_when=asyncio.FIRST_COMPLETED)
            finally:
                stirred.cancel()
            # An open question is answered as soon as the next batch is said.
            await asyncio.sleep(GATHER_SECONDS if self._introduced else RETRY_SECONDS)
        self._introduced = False  # the desk forgets who is silent

    async def _say(self, batch: Batch) -> None:
        answer = await self._exchange(batch)
        if answer.again:
            self._introduced = False
            self._news[:0] = batch.news
            return
        now = self._monotonic()
        for place in answer.places:
            self._known.put((place.key, place.model), (place.learned, now))
        for number in answer.granted:
            self._grant(number)
        if any(place.learned.pause for place in answer.places):
            self._turn_away(now)

    def _turn_away(self, now: float) -> None:
        for wait in self._waiting.values():
            try:
                self._check(wait, now)
            except StepFailed as error:
                if not wait.future.done():
                    wait.future.set_exception(error)

    def _grant(self, number: int) -> None:
        wait = self._waiting.pop(number, None)
        if wait is None or wait.future.done():
            self._withdrawn.append(number)  # nobody waits for it any more: it goes back
            self._speak()
            return
        self._asks_held[number] = wait.ask
        wait.future.set_result(None)

    def _check(self, wait: _Wait, now: float) -> None:
        """Raise `rate_limited` when the provider has named a time that is too late for this request."""
        spot = wait.ask.spot
        learned, at = self._known.get(spot.where) or (Learned(), now)
        left = learned.pause - (now - at)
        if now + left > wait.until:
            text = f"{spot.key.provider} takes no requests to {spot.model} for another {left:.0f} s, which is longer than this one may wait"
            raise StepFailed("rate_limited", text, retry_after=left)

    def _batch(self) -> Batch:
        full, self._introduced = not self._introduced, True
        news, self._news = tuple(self._news), []
        withdrawn, self._withdrawn = tuple(self._withdrawn), []
        new, self._new = self._new, {}
        if not full:
            asks = tuple(self._waiting[number].ask for number in new if number in self._waiting)
            return Batch(self._holder, next(self._serials), asks, withdrawn, news)
        asks = tuple(wait.ask for wait in self._waiting.values())
        return Batch(self._holder, next(self._serials), asks, news=news, full=True, held=tuple(self._asks_held.values()), places=self._places())

    def _places(self) -> tuple[Place, ...]:
        """What was known of the spots that are spoken of now, for a desk that has forgotten it."""
        now, spots = self._monotonic(), {ask.spot.where for ask in self._asks_held.values()}
        spots |= {wait.ask.spot.where for wait in self._waiting.values()}
        found = [(spot, known) for spot in spots if (known := self._known.get(spot)) is not None]
        return tuple(Place(*spot, replace(learned, pause=max(0.0, learned.pause - (now - at)))) for spot, (learned, at) in found)
