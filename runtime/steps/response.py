"""Reading an HTTP answer within bounds, and telling what it means for the step."""

import codecs
import re
import time
import zlib
from collections.abc import Collection
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

import httpx2
from pydantic_core import from_json

from runtime.errors import StepFailed

MAX_RETRY_AFTER = 24 * 3600.0
"""Seconds; nobody is waited for longer than this."""
EXCERPT = 2_000
"""Characters of an error's body that are kept."""

RETRYABLE = frozenset((408, 425, 429))
TEXT_TYPES = frozenset(("application/xml", "application/javascript", "application/x-www-form-urlencoded", "application/yaml", "application/toml"))


CHARSETS = re.compile(r"ascii|utf-(?:8|16)(?:-[lb]e)?|iso8859-\d+|cp\d{3,4}|koi8-[ru]|shift_jis|euc_\w+|gb2312|gbk|gb18030|big5")


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer: header names in lower case, repeated ones joined by a comma, the body unpacked."""

    status: int
    headers: dict[str, str]
    content: bytes

    @property
    def media_type(self) -> str:
        return self.headers.get("content-type", "").partition(";")[0].strip().lower() or "application/octet-stream"

    def body(self) -> Any:
        """JSON, text, None when empty, or bytes when it is neither JSON nor text. Raises StepFailed `response_invalid`."""
        if not self.content:
            return None
        media_type = self.media_type
        if media_type == "application/json" or media_type.endswith("+json"):
            try:
                return from_json(self.content, allow_inf_nan=False)
            except ValueError as error:
                raise StepFailed("response_invalid", f"the answer says it is JSON but is not: {error}") from error
        if media_type.startswith("text/") or media_type in TEXT_TYPES or media_type.endswith("+xml"):
            return self.content.decode(self._charset(), "replace")
        return self.content

    def _charset(self) -> str:
        for part in self.headers.get("content-type", "").split(";")[1:]:
            name, _, value = part.strip().partition("=")
            if name.lower() == "charset":
                return _known_charset(value.strip('"'))
        return "utf-8"


def headers_of(response: httpx2.Response) -> dict[str, str]:
    """The headers that describe the message as we hand it on."""
    untrue = ("content-encoding", "content-length") if "content-encoding" in response.headers else ()  # of the unpacked body
    return {name: value for name, value in response.headers.items() if name not in untrue}


async def read(response: httpx2.Response, limit: int) -> bytes:
    """The body, unpacked, at most `limit` bytes of it in memory at any time.

    Raises StepFailed `response_too_large`, or `response_invalid` for an encoding nobody asked for.
    """
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("identity", "gzip", "x-gzip"):
        raise StepFailed("response_invalid", f"the answer is packed as '{encoding[:50]}'; only gzip was offered")
    unpack = zlib.decompressobj(zlib.MAX_WBITS | 16) if encoding != "identity" else None
    content = bytearray()
    try:
        async for part in response.stream:  # type: ignore[union-attr]  # our transport gives asynchronous streams only
            content += unpack.decompress(part, limit + 1 - len(content)) if unpack else part
            if len(content) > limit or (unpack and unpack.unconsumed_tail):
                raise StepFailed("response_too_large", f"the answer has more than {limit} bytes", retryable=False)
    except zlib.error as error:
        raise StepFailed("response_invalid", "the answer is not valid gzip") from error
    if unpack and ((content and not unpack.eof) or unpack.unused_data):
        raise StepFailed("response_invalid", "the packed answer is cut off, or something follows it")
    return bytes(content)


def check_status(answer: Answer, expected: Collection[int]) -> None:
    """Raise StepFailed `http_<status>` for a status from 400 that is not expected; redirects are answers like any other."""
    if answer.status < 400 or answer.status in expected:
        return
    excerpt = answer.content[: EXCERPT * 4].decode("utf-8", "replace")[:EXCERPT]
    raise StepFailed(
        f"http_{answer.status}",
        f"the server answered {answer.status}",
        retryable=answer.status >= 500 or answer.status in RETRYABLE,
        retry_after=retry_after(answer.headers.get("retry-after")),
        details={"status": answer.status, "body": excerpt},
    )


def retry_after(value: str | None) -> float | None:
    """Seconds from a Retry-After header, a number or a date; None when it says nothing usable."""
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:10]), MAX_RETRY_AFTER)
    try:
        moment = parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError):
        return None
    return min(max(moment - time.time(), 0.0), MAX_RETRY_AFTER)


def _known_charset(name: str) -> str:
    # Only character sets of the web: Python has codecs beyond them that do other things than decode text.
    try:
        known = codecs.lookup(name).name
    except (LookupError, ValueError):
        return "utf-8"
    return known if CHARSETS.fullmatch(known) else "utf-8"
