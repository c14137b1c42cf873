"""Which runs this process is turning at this moment, in a file that outlives it: evidence against a run that brings its host down.

A turn is pure computation and takes a millisecond. A process that dies again and again in the middle of turns of one run, while
the run makes no progress, dies of that run. Neighbours that merely lived in the same process are not suspected.
"""

import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOOP, WRITER = 0, 1
"""The two threads that compute turns: the event loop, and the store's writer for first turns."""
_WIDTH = 36
_NOBODY = b" " * _WIDTH


class Marks:
    """A file of two places, one for each thread; without a path nothing is written. Costs less than a microsecond a turn."""

    def __init__(self, path: Path | None) -> None:
        """Raises OSError when the file cannot be made."""
        self.suspects: list[str] = []
        """Runs the process before this one, with the same file, was in the middle of when it ended."""
        self._path = path
        if path is None:
            self._map: mmap.mmap | None = None
            return
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            before = os.pread(file, 2 * _WIDTH, 0)
            os.ftruncate(file, 2 * _WIDTH)
            self._map = mmap.mmap(file, 2 * _WIDTH)
        finally:
            os.close(file)
        places = (before[:_WIDTH], before[_WIDTH:])
        self.suspects = [place.decode() for place in places if len(place) == _WIDTH and place.strip(b" \0")]
        self._map[:] = _NOBODY * 2

    @contextmanager
    def turning(self, run_id: str, thread: int = LOOP) -> Iterator[None]:
        """While this is open, the process computes for this run, and for no other on this thread."""
        if self._map is None:
            yield
            return
        begin = thread * _WIDTH
        self._map[begin : begin + _WIDTH] = run_id.encode()
        try:
            yield
        finally:
            self._map[begin : begin + _WIDTH] = _NOBODY

    def close(self) -> None:
        """Remove the file: whoever leaves in good order leaves no evidence, and dedicated actors have a name for each run."""
        if self._map is not None and self._path is not None:
            self._map.close()
            self._map = None
            self._path.unlink(missing_ok=True)
