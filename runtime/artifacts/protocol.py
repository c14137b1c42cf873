"""The seam to where large values and files live: content-addressed, immutable, written before anyone refers to them."""

from collections.abc import AsyncIterable, AsyncIterator
from typing import Protocol


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

    async def delete(self, digest: str) -> None: ...
