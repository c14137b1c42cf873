"""Artifacts in a folder: `<root>/ab/cd/<sha256>`. A file is either whole and synced to disk, or not there."""

import asyncio
import errno
import hashlib
import os
import tempfile
import time
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import BinaryIO, TypeVar

from runtime.artifacts import folder
from runtime.artifacts.aside import DIGEST, LOOKS, SetAside, Stored
from runtime.artifacts.protocol import ArtifactStore
from runtime.errors import ArtifactMissing, ArtifactStoreFull, PayloadTooLarge, StoreUnavailable
from runtime.failpoints import reach

CHUNK = 2**18
"""Bytes read or written at a time."""
THREADS = 8
ABANDONED_SECONDS = 24 * 3600
"""An unfinished file older than this belongs to a process that died."""

_NO_ROOM = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM))

T = TypeVar("T")


class LocalArtifacts(ArtifactStore):
    """The default store. Paths are made of hashes only: nothing a user writes becomes part of one. Many processes may share a folder."""

    def __init__(self, root: Path) -> None:
        """Use the folder `root`, created when missing. Raises ArtifactStoreFull or StoreUnavailable when that is not possible."""
        self._root = root
        self._incoming = root / "incoming"
        self._aside = root / "removed"
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="artifacts")
        with _translated():
            self._incoming.mkdir(parents=True, exist_ok=True)
            self._sweep()

    async def put(self, data: bytes | AsyncIterable[bytes], *, limit: int | None = None) -> tuple[str, int]:
        if isinstance(data, bytes):
            check_limit(len(data), limit)
            return await self._in_thread(self._put_bytes, data)
        file = await self._in_thread(self._begin)
        try:
            return await self._put_stream(file, data, limit)
        finally:
            await asyncio.shield(self._in_thread(_discard, file))  # also when canceled: no half file stays behind

    async def get(self, digest: str) -> bytes:
        return await self._in_thread(self._read, digest)

    async def stream(self, digest: str, *, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        file, size = await self._in_thread(self._open, digest)
        stop = size if end is None else min(end, size)
        hasher = hashlib.sha256() if start == 0 and stop == size else None
        try:
            await self._in_thread(file.seek, start)
            for offset in range(start, stop, CHUNK):
                chunk = await self._in_thread(file.read, min(CHUNK, stop - offset))
                if hasher:
                    hasher.update(chunk)
                yield chunk
        finally:
            file.close()
        if hasher and hasher.hexdigest() != digest:
            await self._in_thread(self._quarantine, digest)
            raise _missing(digest, "its content has changed on disk")

    async def size(self, digest: str) -> int | None:
        try:
            return await self._in_thread(self._size, digest)
        except ArtifactMissing:
            return None

    async def stored(self, after: str = "", limit: int = 1000) -> list[Stored]:
        return await self._in_thread(folder.stored, self._root, after, limit)

    async def set_aside(self, digest: str, at: int) -> None:
        await self._in_thread(self._move, self._path(digest), self._aside / SetAside(digest, at).name)

    async def aside(self, after: SetAside | None = None, limit: int = 1000) -> list[SetAside]:
        return await self._in_thread(folder.set_aside, self._aside, f"{after.digest}.{after.at}" if after else "", limit)

    async def put_back(self, item: SetAside) -> None:
        await self._in_thread(self._move, self._aside / item.name, self._path(item.digest))

    async def erase(self, item: SetAside) -> None:
        await self._in_thread(partial((self._aside / item.name).unlink, missing_ok=True))

    def close(self) -> None:
        """Let the threads end; what they are writing is finished first."""
        self._threads.shutdown(wait=True)

    async def _in_thread(self, function: Callable[..., T], *args: object) -> T:
        with _translated():
            return await asyncio.get_running_loop().run_in_executor(self._threads, partial(function, *args))

    def _path(self, digest: str) -> Path:
        if not DIGEST.fullmatch(digest):
            raise _missing(digest, "this is not the name of one")
        return self._root / digest[:2] / digest[2:4] / digest

    def _begin(self) -> BinaryIO:
        self._incoming.mkdir(parents=True, exist_ok=True)
        return tempfile.NamedTemporaryFile(dir=self._incoming, delete=False)  # type: ignore[return-value]  # a wrapper with all of BinaryIO

    def _put_bytes(self, data: bytes) -> tuple[str, int]:
        digest = hashlib.sha256(data).hexdigest()
        if not self._already(digest, len(data)):
            file = self._begin()
            try:
                file.write(data)
                self._publish(file, digest)
            finally:
                _discard(file)
        return digest, len(data)

    async def _put_stream(self, file: BinaryIO, data: AsyncIterable[bytes], limit: int | None) -> tuple[str, int]:
        hasher, size = hashlib.sha256(), 0
        async for chunk in data:
            size += len(chunk)
            check_limit(size, limit)
            hasher.update(chunk)
            await self._in_thread(file.write, chunk)
        digest = hasher.hexdigest()
        if not await self._in_thread(self._already, digest, size):
            await self._in_thread(self._publish, file, digest)
        return digest, size

    def _already(self, digest: str, size: int) -> bool:
        """Whether this content is here and durable. Another process may have moved it in a moment ago, so its folder is synced too."""
        path = self._path(digest)
        try:
            if path.stat().st_size != size:
                return False
        except FileNotFoundError:
            return False
        _sync_folder(path.parent)
        return True

    def _publish(self, file: BinaryIO, digest: str) -> None:
        """Make a written file visible: content to disk first, then the name, then the folder that holds the name."""
        file.flush()
        os.fsync(file.fileno())
        path = self._path(digest)
        if not path.parent.is_dir():
            path.parent.mkdir(parents=True, exist_ok=True)
            _sync_folder(self._root)
            _sync_folder(path.parent.parent)
        os.replace(file.name, path)
        _sync_folder(path.parent)
        reach("artifact.after_put")

    def _places(self, digest: str) -> Iterator[Path]:
        """Where it may be: in its place, or set aside; several times, because it may be moved between two looks."""
        for _ in range(LOOKS):
            yield self._path(digest)
            yield from folder.copies(self._aside, digest)

    def _open(self, digest: str) -> tuple[BinaryIO, int]:
        for path in self._places(digest):
            try:
                file = path.open("rb")
            except FileNotFoundError:
                continue
            return file, os.fstat(file.fileno()).st_size
        raise FileNotFoundError(digest)

    def _size(self, digest: str) -> int:
        file, size = self._open(digest)
        file.close()
        return size

    def _move(self, source: Path, target: Path) -> None:
        """Rename, so that at every moment the content has one name or the other."""
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.replace(source, target)
        except FileNotFoundError:
            return  # another process was quicker
        _sync_folder(target.parent)
        _sync_folder(source.parent)

    def _read(self, digest: str) -> bytes:
        file, _ = self._open(digest)
        with file:
            data = file.read()
        if hashlib.sha256(data).hexdigest() != digest:
            self._quarantine(digest)
            raise _missing(digest, "its content has changed on disk")
        return data

    def _quarantine(self, digest: str) -> None:
        """Move a damaged file aside, so that storing the content again heals it and the evidence stays."""
        path = self._path(digest)
        if path.exists():
            os.replace(path, path.with_suffix(".corrupt"))

    def _sweep(self) -> None:
        now = time.time()
        for path in self._incoming.iterdir():
            try:
                if now - path.stat().st_mtime > ABANDONED_SECONDS:
                    path.unlink()
            except FileNotFoundError:
                continue  # another process finished or swept it


def _discard(file: BinaryIO) -> None:
    """Close a file and remove it unless it was published under its own name."""
    try:
        file.close()
    finally:
        Path(file.name).unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def check_limit(size: int, limit: int | None) -> None:
    """Raise PayloadTooLarge when `size` bytes are more than `limit`."""
    if limit is not None and size > limit:
        raise PayloadTooLarge(f"the content has more than {limit} bytes")


def _missing(digest: str, reason: str) -> ArtifactMissing:
    return ArtifactMissing(f"artifact {digest[:64]} cannot be read: {reason}")


@contextmanager
def _translated() -> Iterator[None]:
    """Errors of the file system as errors of the product; paths stay out of their text."""
    try:
        yield
    except FileNotFoundError as error:
        raise ArtifactMissing("the artifact is not there") from error
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise ArtifactStoreFull(f"artifact_store_full: nothing can be stored ({os.strerror(error.errno)})", retry_after=30) from error
        raise StoreUnavailable(f"the artifact store does not answer ({os.strerror(error.errno or 0)})", retry_after=5) from error
