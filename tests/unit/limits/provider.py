"""A provider in virtual time, and a cluster's worth of requests to it: nothing here waits."""

import heapq
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, field

from runtime.limit_settings import NO_LIMITS, ProviderLimits
from runtime.limits.book import Book
from runtime.limits.messages import Ask, Batch, Key, News, Spot
from runtime.limits.seen import Seen

KEY = Key("acme", "openai", "account")
MINUTE = 60.0


def spot(model: str = "m", key: Key = KEY, **limits: int) -> Spot:
    return Spot(key, model, ProviderLimits(**limits) if limits else NO_LIMITS)


@dataclass
class Provider:
    """Takes `rate` requests in each second and refuses the rest until the next one. `says`: what stands beside its answers."""

    rate: float = float("inf")
    latency: float = 0.05
    says: Callable[[float], Seen | None] = field(default=lambda now: None)
    sent: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    _second: int = -1
    _taken: int = 0

    def ask(self, now: float) -> float | None:
        """None when it is taken, else how long to wait."""
        self.sent.append(now)
        if int(now) != self._second:
            self._second, self._taken = int(now), 0
        self._taken += 1
        if self._taken <= self.rate:
            return None
        self.refused.append(now)
        return self._second + 1 - now


@dataclass
class Erratic(Provider):
    """Refuses one request of `every`, however slowly they come."""

    every: int = 10

    def ask(self, now: float) -> float | None:
        self.sent.append(now)
        if len(self.sent) % self.every:
            return None
        self.refused.append(now)
        return 1.0


@dataclass
class Strict(Provider):
    """Takes so many requests in any 60 seconds and asks to come again after one second."""

    limit: int = 60
    taken: list[float] = field(default_factory=list)

    def ask(self, now: float) -> float | None:
        self.sent.append(now)
        if len(self.taken) - bisect_right(self.taken, now - MINUTE) < self.limit:
            self.taken.append(now)
            return None
        self.refused.append(now)
        return 1.0


@dataclass
class Cluster:
    """One process that has all the requests. `run` lets time pass until they are done."""

    provider: Provider
    book: Book = field(default_factory=Book)
    now: float = 100.0
    done: list[tuple[float, Ask]] = field(default_factory=list)
    _ends: list[tuple[float, int, Ask, float | None]] = field(default_factory=list)
    _serial: int = 0

    def say(self, *asks: Ask, news: tuple[News, ...] = (), full: bool = False, withdrawn: tuple[int, ...] = (), holder: str = "p") -> None:
        self._serial += 1
        full = full or holder not in self.book.holders
        assert self.book.take(Batch(holder, self._serial, asks, withdrawn, news, full), self.now)

    def run(self, until: float = float("inf")) -> None:
        """To the end of all, or to this time."""
        while True:
            for served in self.book.serve(self.now):
                pause = self.provider.ask(self.now)
                heapq.heappush(self._ends, (self.now + self.provider.latency, served.ask.number, served.ask, pause))
            times = [at for at in (self.book.next_at(self.now), self._ends[0][0] if self._ends else None) if at is not None]
            if not times or min(times) > until:
                return
            self.now = max(self.now, min(times))
            while self._ends and self._ends[0][0] <= self.now:
                self._end(*heapq.heappop(self._ends))

    def _end(self, at: float, number: int, ask: Ask, pause: float | None) -> None:
        news = News(ask.spot, number, seen=self.provider.says(at), refused=pause is not None, pause=pause, age=self.provider.latency)
        if pause is None:
            self.done.append((at, ask))
            self.say(news=(news,))
        else:
            self.say(ask, news=(news,))  # it is asked again

    def most_in_a_minute(self) -> int:
        """What the provider got, in any 60 seconds."""
        begin = most = 0
        for end, time in enumerate(self.provider.sent):
            while time - self.provider.sent[begin] >= MINUTE:
                begin += 1
            most = max(most, end - begin + 1)
        return most
