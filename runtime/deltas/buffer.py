"""What one reader has not taken yet: bounded, and pieces that follow each other are one by the time they are taken."""

import asyncio
from dataclasses import replace

from runtime.deltas.delta import Delta, Place

MAX_CHARACTERS = 256 * 1024
"""Waiting for one reader. One that is so far behind loses them and goes on with what comes next."""
MAX_PIECES = 4096
"""Likewise, of calls and marks: those of many calls at once do not become one."""
MOMENT = 0.005
"""Seconds from one taking to the next: those who come at once get all at once, and crowds cost a reader two hundred turns a second at most."""


class _Piece:
    """A delta and the texts that have followed it; strings are not glued together one by one."""

    __slots__ = ("delta", "end", "texts")

    def __init__(self, delta: Delta) -> None:
        self.delta = delta
        self.texts = [delta.text]
        self.end = delta.offset + len(delta.text)

    def whole(self) -> Delta:
        return self.delta if len(self.texts) == 1 else replace(self.delta, text="".join(self.texts))


class Buffer:
    """Filled by `put`, emptied by one reader. Order is kept among the deltas of one place."""

    def __init__(self, characters: int = MAX_CHARACTERS, pieces: int = MAX_PIECES) -> None:
        self._characters, self._most = characters, pieces
        self._pieces: list[_Piece] = []
        self._last: dict[Place, _Piece] = {}
        self._size = 0
        self._lost = 0
        self._waiter: asyncio.Future[None] | None = None
        self._taken = 0.0

    def put(self, delta: Delta) -> None:
        """Add a delta; when there is no room, everything that waits is lost before."""
        if self._size + len(delta.text) > self._characters or len(self._pieces) >= self._most:
            self._lost += max(self._size, 1)  # marks have no characters, and their loss is one all the same
            self._empty()
        last = self._last.get(delta.place)
        if last is not None and last.delta.says and delta.continues((last.delta.attempt, last.delta.call), last.end):
            last.texts.append(delta.text)
            last.end += len(delta.text)
        else:
            piece = self._last[delta.place] = _Piece(delta)
            self._pieces.append(piece)
        self._size += len(delta.text)
        self._wake()

    def miss(self, characters: int) -> None:
        """So much was lost on the way here."""
        self._lost += characters
        self._wake()

    async def take(self) -> tuple[int, list[Delta]]:
        """Wait until there is something, then take it all: how many characters were lost before it, and the deltas."""
        loop = asyncio.get_running_loop()
        while not (self._pieces or self._lost):
            self._waiter = loop.create_future()
            await self._waiter
        if (early := self._taken + MOMENT - loop.time()) > 0:
            await asyncio.sleep(early)
        self._taken = loop.time()
        lost, found = self._lost, [piece.whole() for piece in self._pieces]
        self._lost = 0
        self._empty()
        return lost, found

    def _empty(self) -> None:
        self._pieces, self._last, self._size = [], {}, 0

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
