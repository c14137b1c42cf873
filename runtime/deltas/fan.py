"""From those who speak to those who listen, within one process: the whole way where both are in it, and either end of it where they are not."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from runtime.deltas.buffer import Buffer
from runtime.deltas.delta import Delta
from runtime.deltas.stories import Stories


class Fan:
    """Implements `Sink` and `Deltas`. For one event loop."""

    def __init__(self, changed: Callable[[str], None] | None = None) -> None:
        """`changed`: told of a run when it has got its first follower, and when its last one has left."""
        self._changed = changed
        self._followers: dict[str, set[Buffer]] = {}
        self.stories = Stories()

    def followed(self, run_id: str) -> bool:
        return run_id in self._followers

    def publish(self, delta: Delta) -> None:
        self.stories.add(delta)
        for buffer in self._followers.get(delta.run_id, ()):
            buffer.put(delta)

    @contextmanager
    def follow(self, run_id: str) -> Iterator[Buffer]:
        buffer = Buffer()
        self.join(run_id, buffer)
        try:
            yield buffer
        finally:
            self.leave(run_id, buffer)

    def join(self, run_id: str, buffer: Buffer) -> None:
        """The buffer gets what is said in this run from now on, after what its calls in flight have said so far."""
        followers = self._followers.setdefault(run_id, set())
        if buffer in followers:
            return
        followers.add(buffer)
        for delta in self.stories.of(run_id):
            buffer.put(delta)
        if len(followers) == 1 and self._changed is not None:
            self._changed(run_id)

    def leave(self, run_id: str, buffer: Buffer) -> None:
        """The buffer gets no more of this run."""
        followers = self._followers.get(run_id, set())
        followers.discard(buffer)
        if not followers and self._followers.pop(run_id, None) is not None and self._changed is not None:
            self._changed(run_id)

    def miss(self, characters: int) -> None:
        """So much was lost on the way to this process, of whatever is followed here."""
        for buffer in {buffer for followers in self._followers.values() for buffer in followers}:
            buffer.miss(characters)
