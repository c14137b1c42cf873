"""A TCP proxy between the product and PostgreSQL that cuts connections where it hurts, and writes down every cut.

    with PostgresProxy("127.0.0.1", 5432) as proxy:
        ... postgresql://…@127.0.0.1:{proxy.port}/… ...
        proxy.arm(Cut.BEFORE_COMMIT)            # the next COMMIT
        proxy.chances = {Cut.COMMIT_LOST: 0.1}  # each message or COMMIT, by chance
        proxy.delay = 0.5                       # seconds before each piece from the client goes on

It runs in a thread of its own, so that whoever uses it may block.
"""

import asyncio
import random
import threading
import time
from collections import Counter, deque
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from types import TracebackType
from typing import Any, Self

from tests.chaos.tools.wire import Client, ends_commit, frames


class Cut(StrEnum):
    """Where a connection is broken."""

    ANYWHERE = "anywhere"
    """In the middle of a message that is no COMMIT."""
    BEFORE_COMMIT = "before_commit"
    """The server never sees the COMMIT."""
    COMMIT_SENT = "commit_sent"
    """The COMMIT is on its way; the server may or may not see the end of the connection first."""
    COMMIT_LOST = "commit_lost"
    """The server has committed and said so; the answer is thrown away."""
    ALL = "all"
    """Every open connection at once."""


IN_COMMIT = (Cut.BEFORE_COMMIT, Cut.COMMIT_SENT, Cut.COMMIT_LOST)


@dataclass(frozen=True)
class Record:
    """One cut: when (monotonic seconds) and where."""

    at: float
    cut: Cut


class PostgresProxy:
    """Forwards to one server. `delay`, `refuse`, `chances` and `arm` may be changed at any time, from any thread."""

    def __init__(self, host: str | None, port: int, *, socket_folder: str | None = None, seed: int | None = None) -> None:
        """`socket_folder` instead of `host`: the server listens on a Unix socket there."""
        self.delay = 0.0
        self.refuse = False
        self.chances: dict[Cut, float] = {}
        self.records: list[Record] = []
        self.port = 0
        self._target = (host, port, socket_folder)
        self._random = random.Random(seed)
        self._armed: deque[Cut] = deque()
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="postgres-proxy", daemon=True)
        self._server: asyncio.Server | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        self._call(self._listen())
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._call(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def arm(self, *cuts: Cut) -> None:
        """Each of these happens at one of the next COMMITs, in this order."""
        self._armed.extend(cuts)

    def cut_all(self) -> int:
        """Break every open connection now; returns how many there were."""
        return self._call(self._cut_all())

    @property
    def counts(self) -> Counter[Cut]:
        """Cuts by kind."""
        return Counter(record.cut for record in self.records)

    def _call(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()
        for writer in list(self._open):
            writer.transport.abort()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _cut_all(self) -> int:
        found = list(self._open)
        for writer in found:
            writer.transport.abort()
        if found:
            self._note(Cut.ALL)
        return len(found) // 2

    def _note(self, cut: Cut) -> None:
        self.records.append(Record(time.monotonic(), cut))

    def _accept(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        task = self._loop.create_task(self._serve(client, to_client))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        host, port, folder = self._target
        try:
            if self.refuse:
                raise ConnectionRefusedError
            server, to_server = await (asyncio.open_unix_connection(f"{folder}/.s.PGSQL.{port}") if folder else asyncio.open_connection(host, port))
        except OSError:  # the server is down: so are we
            to_client.transport.abort()
            return
        await _Session(self, (client, to_client), (server, to_server)).run()

    def choose(self, *, commit: bool) -> Cut | None:
        """What happens to this message."""
        if commit and self._armed:
            return self._armed.popleft()
        for cut in IN_COMMIT if commit else (Cut.ANYWHERE,):
            if self._random.random() < self.chances.get(cut, 0.0):
                return cut
        return None

    def slice(self, message: bytes) -> bytes:
        """A front part of it."""
        return message[: self._random.randrange(len(message))]


Side = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class _Session:
    """One connection through the proxy."""

    def __init__(self, proxy: PostgresProxy, client: Side, server: Side) -> None:
        self._proxy = proxy
        self._client, self._to_client = client
        self._server, self._to_server = server
        self._losing = False
        """The next answer to a COMMIT is to be lost."""

    async def run(self) -> None:
        both = {self._to_client, self._to_server}
        self._proxy._open |= both
        up, down = asyncio.create_task(self._up()), asyncio.create_task(self._down())
        try:
            await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (up, down):
                task.cancel()
            await asyncio.gather(up, down, return_exceptions=True)
            for writer in both:
                writer.transport.abort()
            self._proxy._open -= both

    async def _up(self) -> None:
        """From the client to the server, message by message."""
        parser = Client()
        with suppress(ConnectionError):  # whoever goes away first ends the connection
            while data := await self._client.read(65536):
                if self._proxy.delay:
                    await asyncio.sleep(self._proxy.delay)
                for message, commit in parser.feed(data):
                    if not await self._forward(message, commit=commit):
                        return

    async def _forward(self, message: bytes, *, commit: bool) -> bool:
        """Whether the connection lives on."""
        cut = self._proxy.choose(commit=commit)
        if cut in (Cut.ANYWHERE, Cut.BEFORE_COMMIT):
            self._to_server.write(self._proxy.slice(message))
        else:
            self._losing = self._losing or cut is Cut.COMMIT_LOST
            self._to_server.write(message)
            await self._to_server.drain()
        if cut is not None and cut is not Cut.COMMIT_LOST:
            self._proxy._note(cut)
            await self._to_server.drain()
            return False
        return True

    async def _down(self) -> None:
        """From the server to the client; the answer to a COMMIT that is to be lost is read, so that it was carried out, and thrown away."""
        buffer = bytearray()
        with suppress(ConnectionError):
            while data := await self._server.read(65536):
                buffer += data
                if self._losing and any(map(ends_commit, frames(buffer))):
                    self._proxy._note(Cut.COMMIT_LOST)
                    return
                if not self._losing:
                    buffer.clear()
                    self._to_client.write(data)
                    await self._to_client.drain()
