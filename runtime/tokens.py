"""Tokens in the clear: `<prefix>_<id>_<secret><checksum>` with 256 random bits. What recognises one later is its SHA-256 alone.

The prefix and the checksum let secret scanners and this server recognise a token without a look-up.
"""

import hashlib
import hmac
import re
import secrets
import zlib
from dataclasses import dataclass

KEY, TICKET, HOOK = "ak", "st", "hk"
"""An API key; a ticket for one stream; the address of a hook."""

_FORM = re.compile(r"(ak|st|hk)_([0-9a-f]{16})_([0-9a-f]{64})([0-9a-f]{8})")


@dataclass(frozen=True, slots=True)
class Key:
    """A token as its owner holds it."""

    prefix: str
    key_id: str
    text: str

    @property
    def digest(self) -> bytes:
        """What the database keeps of it."""
        return hashlib.sha256(self.text.encode()).digest()

    def matches(self, digest: bytes | None) -> bool:
        """Whether this is the digest of the very same token. Takes the same time for a missing one."""
        return hmac.compare_digest(digest if digest is not None else bytes(32), self.digest) and digest is not None

    def __repr__(self) -> str:
        return f"Key({self.prefix}_{self.key_id}_…)"


def make(prefix: str = KEY) -> Key:
    """A new token."""
    key_id = secrets.token_hex(8)
    body = f"{prefix}_{key_id}_{secrets.token_hex(32)}"
    return Key(prefix, key_id, body + _checksum(body))


def parse(text: str) -> Key | None:
    """The token, or None for anything that cannot be one."""
    match = _FORM.fullmatch(text)
    if not match or _checksum(text[:-8]) != match[4]:
        return None
    return Key(match[1], match[2], text)


def _checksum(body: str) -> str:
    return f"{zlib.crc32(body.encode()):08x}"
