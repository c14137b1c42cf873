"""Signatures of webhooks: the Standard Webhooks scheme, out and in, and the plain HMAC that GitHub and many others send."""

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass

PREFIX = "whsec_"
TOLERANCE_SECONDS = 300
"""How far a message's timestamp may be from now, either way."""
MAX_SIGNATURES = 10
"""A header with more than these is not looked through."""

_BYTES = range(24, 65)
_NUMBER = re.compile(r"[0-9]{1,12}")


@dataclass(frozen=True, slots=True)
class Signed:
    """What the scheme signs: the message's id, when it is sent (unix seconds) and its body, byte for byte."""

    id: str
    timestamp: int
    body: bytes

    def signature(self, key: bytes) -> str:
        """`v1,<base64 HMAC-SHA256 of id.timestamp.body>`."""
        signed = f"{self.id}.{self.timestamp}.".encode() + self.body
        return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()

    def headers(self, keys: Iterable[bytes]) -> dict[str, str]:
        """The three headers; with several keys (while a secret changes) one signature for each."""
        return {
            "webhook-id": self.id,
            "webhook-timestamp": str(self.timestamp),
            "webhook-signature": " ".join(self.signature(key) for key in keys),
        }


def new_secret() -> str:
    """`whsec_` and 256 random bits in base64."""
    return PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def key_of(secret: str) -> bytes:
    """The key a `whsec_` secret stands for, 24 to 64 bytes. Raises ValueError for anything else."""
    key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    if not secret.startswith(PREFIX) or len(key) not in _BYTES:
        raise ValueError("a secret is whsec_ and 24 to 64 bytes in base64")
    return key


def is_standard(key: bytes, message_id: str, timestamp: str, signatures: str, body: bytes, *, now: int) -> bool:
    """Whether one of the space-separated signatures is right and the timestamp within five minutes of `now` (ms). In constant time."""
    if not message_id or not _NUMBER.fullmatch(timestamp) or abs(int(timestamp) - now // 1000) > TOLERANCE_SECONDS:
        return False
    wanted = Signed(message_id, int(timestamp), body).signature(key).encode()
    given = signatures.split(" ")[:MAX_SIGNATURES]
    return sum(hmac.compare_digest(wanted, each.encode("utf-8", "replace")) for each in given) > 0


def is_hmac_hex(key: bytes, signature: str, body: bytes) -> bool:
    """Whether `signature` is the hexadecimal HMAC-SHA256 of the body, with `sha256=` before it or without. In constant time."""
    wanted = hmac.digest(key, body, hashlib.sha256).hex().encode()
    return hmac.compare_digest(wanted, signature.removeprefix("sha256=").lower().encode("utf-8", "replace"))
