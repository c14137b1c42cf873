"""All provider keys of a cluster, and the processes that ask with them."""

from dataclasses import dataclass, field
from heapq import nlargest
from operator import itemgetter

from runtime.limits.key import KeyLimiter
from runtime.limits.messages import Batch, Key, Place, Where
from runtime.limits.turns import Waiting

HOLDER_SECONDS = 15.0
"""Whoever says nothing for so long is gone, and what it held is free."""
IDLE_SECONDS = 3600.0
"""A key nobody has used for so long is forgotten, with what was learned about it."""
MAX_KEYS = 10_000
MAX_TOLD = 1000
"""Limited spots that every process is told of each second; whoever asks at another one learns of its limit by the first refusal."""
MAX_WAITING = 200_000
"""Asks that wait, of all keys together; who comes then waits in its own process, and says everything again until there is room."""


@dataclass(slots=True)
class Holder:
    """One process that asks models."""

    serial: int
    heard_at: float
    granted: list[int] = field(default_factory=list)
    """What it may send and has not been told yet."""
    spots: dict[Where, None] = field(default_factory=dict)
    """What it has spoken of."""
    asks: dict[int, Key] = field(default_factory=dict)
    """What it has waiting or out, by number."""


class Book:
    """Arithmetic only: `now` is in seconds of one clock that never jumps."""

    def __init__(self) -> None:
        self.keys: dict[Key, KeyLimiter] = {}
        self.holders: dict[str, Holder] = {}

    def take(self, batch: Batch, now: float) -> bool:
        """What a process says. False when it must say everything again: its beginning was not heard here, or some of it had no room."""
        holder = self.holders.get(batch.holder)
        if batch.full:
            holder = self._begin(batch, now)
        elif holder is None:
            return False
        elif batch.serial <= holder.serial:
            return True  # said before the last time everything was said, which it came after
        holder.heard_at = now
        for news in batch.news:
            holder.spots[news.spot.where] = None
            if news.number is not None:
                holder.asks.pop(news.number, None)
            self.key(news.spot.key).hear(batch.holder, news, now)
        room = max(0, MAX_WAITING - self.waiting)
        for ask in batch.asks[:room]:
            holder.spots[ask.spot.where] = None
            holder.asks[ask.number] = ask.spot.key
            self.key(ask.spot.key).ask(batch.holder, ask, now)
        for number in batch.withdrawn:
            if (key := holder.asks.pop(number, None)) is not None:
                self.key(key).withdraw((batch.holder, number))
        return len(batch.asks) <= room

    def serve(self, now: float) -> list[Waiting]:
        """Whoever may go out now; their holders find it in `granted`."""
        served = [waiting for limiter in self.keys.values() if len(limiter.turns) for waiting in limiter.serve(now)]
        for waiting in served:
            self.holders[waiting.id[0]].granted.append(waiting.id[1])
        return served

    def next_at(self, now: float) -> float | None:
        """When `serve` may have something; None when only a word from outside can change that."""
        return min((at for limiter in self.keys.values() if (at := limiter.next_at(now)) is not None), default=None)

    def leave(self, holder: str) -> None:
        """This process is gone."""
        if (gone := self.holders.pop(holder, None)) is not None:
            for number, key in gone.asks.items():
                self.key(key).withdraw((holder, number))

    def tidy(self, now: float) -> None:
        """Let go of processes that were not heard of, and of keys nobody uses."""
        for name in [name for name, holder in self.holders.items() if now - holder.heard_at > HOLDER_SECONDS]:
            self.leave(name)
        idle = sorted((key for key, limiter in self.keys.items() if limiter.idle), key=lambda key: self.keys[key].used_at)
        crowd = len(self.keys) - MAX_KEYS
        for number, key in enumerate(idle):
            if number < crowd or now - self.keys[key].used_at > IDLE_SECONDS:
                del self.keys[key]

    def places(self, holder: str, now: float) -> tuple[Place, ...]:
        """What is known about the spots this process has spoken of since it was last told."""
        spots, self.holders[holder].spots = self.holders[holder].spots, {}
        return tuple(Place(key, model, self.key(key).gate(model, now).learned(now)) for key, model in spots)

    def limited(self, now: float) -> tuple[Where, ...]:
        """The spots that something is known about which no setting says; of more than MAX_TOLD those used last."""
        found = [(limiter.used_at, (key, model)) for key, limiter in self.keys.items() for model in limiter.models if limiter.limited(model, now)]
        if len(found) > MAX_TOLD:
            found = nlargest(MAX_TOLD, found, key=itemgetter(0))
        return tuple(where for _, where in found)

    @property
    def waiting(self) -> int:
        """Asks of all keys."""
        return sum(len(limiter.turns) for limiter in self.keys.values())

    def key(self, key: Key) -> KeyLimiter:
        """Its limiter."""
        found = self.keys.get(key)
        if found is None:
            found = self.keys[key] = KeyLimiter()
        return found

    def _begin(self, batch: Batch, now: float) -> Holder:
        self.leave(batch.holder)
        holder = self.holders[batch.holder] = Holder(batch.serial, now)
        for place in batch.places:
            # Whoever has been here for long knows more than those who come back to it.
            if (gate := self.key(place.key).gate(place.model, now)).since > now - HOLDER_SECONDS:
                gate.adopt(place.learned, now)
        for ask in batch.held:
            holder.asks[ask.number] = ask.spot.key
            self.key(ask.spot.key).hold(batch.holder, ask, now)
        return holder
