"""Pages for docs/agents.md to look at: each a picture of one grey pixel, darker from page to page."""

import struct
import zlib
from typing import Any


async def scan(page: int, context: Any) -> dict[str, Any]:
    """Save the picture of a page and say what it is."""
    saved: dict[str, Any] = await context.save_artifact(f"page-{page}.png", picture(255 - page % 256), "image/png")
    return saved


def picture(grey: int) -> bytes:
    """A PNG of one pixel."""
    parts = [(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)), (b"IDAT", zlib.compress(bytes([0, grey]))), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts)
