"""A file of JSON lines that are on disk before anybody is told of them; one fsync serves all who wait at the same time."""

import asyncio
import json
import os
from pathlib import Path
from typing import Any


class FsyncLog:
    """`await log.write({...})` returns when the line is on disk."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._file = path.open("ab")
        self._waiting: list[tuple[bytes, asyncio.Future[None]]] = []
        self._flusher: asyncio.Task[None] | None = None

    async def write(self, entry: dict[str, Any]) -> None:
        """Append the entry as one line. Raises OSError when it cannot be kept."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((json.dumps(entry, separators=(",", ":")).encode() + b"\n", done))
        if self._flusher is None or self._flusher.done():
            self._flusher = asyncio.create_task(self._flush())
        await done

    async def _flush(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            try:
                await asyncio.to_thread(self._store, b"".join(line for line, _ in batch))
            except OSError as failure:
                for _, done in batch:
                    if not done.done():
                        done.set_exception(failure)
            else:
                for _, done in batch:
                    if not done.done():
                        done.set_result(None)

    def _store(self, data: bytes) -> None:
        self._file.write(data)
        self._file.flush()
        os.fdatasync(self._file.fileno())

    def close(self) -> None:
        """Nothing more is written."""
        self._file.close()


def read_lines(path: Path) -> list[dict[str, Any]]:
    """All entries of such a file; a last line that a kill cut off is left out."""
    if not path.exists():
        return []
    whole, _, _ = path.read_bytes().rpartition(b"\n")
    return [json.loads(line) for line in whole.splitlines() if line]
