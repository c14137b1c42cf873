"""The seam to where large values and files live: content-addressed, immutable, written before anyone refers to them."""

from collections.abc import AsyncIterable, AsyncIterator
from typing import Protocol

from runtime.artifacts.aside import SetAside, Stored


class ArtifactStore(Protocol):
    """Bytes by their SHA-256. Contract suite: tests/contract/artifacts."""

    async def put(self, data: bytes | AsyncIterable[bytes], *, limit: int | None = None) -> tuple[str, int]:
        """Store and return `(sha256 hex, size)`. Visible only when complete and durable; storing the same again is free.

        Raises PayloadTooLarge beyond `limit` bytes, StoreUnavailable when the store is full or unreachable.
        """
        ...

    async def get(self, digest: str) -> bytes:
        """The whole content, verified. Raises ArtifactMissing when absent or corrupt."""
        ...

    def stream(self, digest: str, *, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """Bytes `start` (inclusive) to `end` (exclusive) in chunks. Raises ArtifactMissing."""
        ...

    async def size(self, digest: str) -> int | None:
        """Bytes, or None when absent."""
        ...

    async def stored(self, after: str = "", limit: int = 1000) -> list[Stored]:
        """A page of the content in its place, by hash, from the one after the hash `after`."""
        ...

    async def set_aside(self, digest: str, at: int) -> None:
        """Take content that nobody refers to out of its place; `get`, `stream` and `size` still find it. Nothing when it is not there.

        Storing the same content again brings it back at once, whatever happens at the same moment.
        """
        ...

    async def aside(self, after: SetAside | None = None, limit: int = 1000) -> list[SetAside]:
        """A page of what was set aside, by hash and time, from the one after `after`."""
        ...

    async def put_back(self, item: SetAside) -> None:
        """Return it to its place: somebody refers to it after all. Nothing when it is no longer aside."""
        ...

    async def erase(self, item: SetAside) -> None:
        """Delete it for good. The same content in its place, or set aside at another time, stays."""
        ...
