"""Deltas from other processes: one link to each process that asks models, open only while somebody here follows a run."""

import asyncio
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Protocol

from runtime.deltas.buffer import Buffer
from runtime.deltas.fan import Fan
from runtime.deltas.subscriptions import Batch

RETRY_SECONDS = 0.2
"""Between two tries to reach a process that does not answer, or has no place for one more subscriber."""


class PeerLostError(Exception):
    """The process does not answer. It may be another one by now, which knows of no subscriber."""


class Peer(Protocol):
    """A process that asks models; the other end is `Subscriptions`. Both raise PeerLostError."""

    async def follow(self, subscriber: str, add: Sequence[str], drop: Sequence[str]) -> bool: ...

    async def poll(self, subscriber: str) -> Batch: ...


class _Link:
    """One peer, told of what is wanted, and asked for what has come as long as that is anything."""

    def __init__(self, me: str, peer: Peer, wanted: set[str], fan: Fan, listed: Callable[[], bool]) -> None:
        """`wanted`: runs followed here, kept up to date by others. `listed`: whether the peer takes new calls; one that does not is let go
        as soon as it does not answer.
        """
        self._me, self._peer, self._wanted, self._fan, self._listed = me, peer, wanted, fan, listed
        self._told: set[str] = set()
        self._news, self._reached = asyncio.Event(), asyncio.Event()
        self._news.set()
        self._tasks = [asyncio.create_task(self._tell()), asyncio.create_task(self._hear())]

    @property
    def over(self) -> bool:
        """Whether the peer was let go."""
        return any(task.done() for task in self._tasks)

    def changed(self) -> None:
        """Something else is wanted, perhaps nothing."""
        self._news.set()

    def close(self) -> None:
        """End at once; the peer forgets this process when it has not been asked for a while."""
        for task in self._tasks:
            task.cancel()

    async def closed(self) -> None:
        """End, and wait until it has ended."""
        self.close()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _tell(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            add, drop = self._wanted - self._told, self._told - self._wanted
            if not add and not drop:
                continue
            try:
                known = await self._peer.follow(self._me, sorted(add), sorted(drop))
            except PeerLostError:
                await self._again()
                continue
            complete = known or not self._told
            self._told = (self._told | add) - drop if complete else add
            if not complete:
                self._news.set()
            if self._told:
                self._reached.set()
            else:
                self._reached.clear()

    async def _hear(self) -> None:
        while True:
            await self._reached.wait()
            try:
                batch = await self._peer.poll(self._me)
            except PeerLostError:
                await self._again()
                continue
            if not batch.known:
                await self._again()
            if batch.lost:
                self._fan.miss(batch.lost)
            for delta in batch.deltas:
                if delta.run_id in self._wanted:
                    self._fan.publish(delta)

    async def _again(self) -> None:
        """What the peer was told counts no more. Tell it anew, after a pause."""
        self._told = set()
        self._reached.clear()
        if not self._listed():
            self.close()
        await asyncio.sleep(RETRY_SECONDS)
        self._news.set()


class Links:
    """Implements `Deltas` where models are asked elsewhere. `update` must be told of the peers. For one event loop."""

    def __init__(self, me: str, peer: Callable[[str], Peer]) -> None:
        """`me`: this process's name, which no other has. `peer`: from a name to the process."""
        self._me, self._peer = me, peer
        self._names: set[str] = set()
        self._wanted: set[str] = set()
        self._links: dict[str, _Link] = {}
        self._numbers = itertools.count()
        self._fan = Fan(self._changed)

    def update(self, names: Iterable[str]) -> None:
        """These peers take new calls; one that is not among them is heard for as long as it answers."""
        self._names = set(names)
        self._arrange()

    @contextmanager
    def follow(self, run_id: str) -> Iterator[Buffer]:
        with self._fan.follow(run_id) as buffer:
            yield buffer

    async def close(self) -> None:
        """Ask nobody any more."""
        links, self._names, self._links = self._links, set(), {}
        await asyncio.gather(*(link.closed() for link in links.values()))

    def _changed(self, run_id: str) -> None:
        if self._fan.followed(run_id):
            self._wanted.add(run_id)
        else:
            self._wanted.discard(run_id)
            self._fan.stories.forget(run_id)
        self._arrange()

    def _lists(self, name: str) -> bool:
        return name in self._names

    def _arrange(self) -> None:
        """A link to each peer once anything is wanted; they stay, without being asked, for the next who wants something."""
        for name, link in list(self._links.items()):
            if link.over:
                del self._links[name]
            else:
                link.changed()
        for name in self._names - self._links.keys() if self._wanted else ():
            me = f"{self._me}/{next(self._numbers)}"  # a link knows nothing of what one before it has told
            self._links[name] = _Link(me, self._peer(name), self._wanted, self._fan, partial(self._lists, name))
