"""API keys and stream tickets: `ak_<id>_<secret><checksum>`. The database knows only the SHA-256 of a key.

The prefix and the checksum let secret scanners and this server recognise a key without a look-up.
"""

import hashlib
import hmac
import re
import secrets
import zlib
from dataclasses import dataclass
from pathlib import Path

from runtime.clock import Clock, SystemClock
from runtime.private_file import write_private
from runtime.store.protocol import Catalog, KeyRow

KEY, TICKET = "ak", "st"
READ, WRITE, ADMIN = "read", "write", "admin"
SCOPES = (READ, WRITE, ADMIN)
"""`write` includes `read`; `admin` includes both and manages keys."""
LOCAL_TENANT = "default"

_FORM = re.compile(r"(ak|st)_([0-9a-f]{16})_([0-9a-f]{64})([0-9a-f]{8})")


@dataclass(frozen=True, slots=True)
class Key:
    """A key in the clear, as its owner holds it."""

    prefix: str
    key_id: str
    text: str

    @property
    def digest(self) -> bytes:
        """What the database keeps of it."""
        return hashlib.sha256(self.text.encode()).digest()

    def __repr__(self) -> str:
        return f"Key({self.prefix}_{self.key_id}_…)"


def make(prefix: str = KEY) -> Key:
    """A new key with 256 random bits."""
    key_id = secrets.token_hex(8)
    body = f"{prefix}_{key_id}_{secrets.token_hex(32)}"
    return Key(prefix, key_id, body + _checksum(body))


def parse(text: str) -> Key | None:
    """The key, or None for anything that cannot be one."""
    match = _FORM.fullmatch(text)
    if not match or _checksum(text[:-8]) != match[4]:
        return None
    return Key(match[1], match[2], text)


def verify(key: Key, row: KeyRow | None, now: int) -> bool:
    """Whether `row` is this key's, neither expired nor revoked at `now` (ms). Takes the same time for a missing row."""
    known = row.digest if row is not None else bytes(32)
    same = hmac.compare_digest(known, key.digest)
    return same and row is not None and row.revoked_at is None and (row.expires_at is None or row.expires_at > now)


async def issue(
    catalog: Catalog, tenant: str, *, name: str, scopes: tuple[str, ...], now: int, expires_at: int | None = None, prefix: str = KEY
) -> tuple[Key, KeyRow]:
    """Make a key and store what is needed to recognise it. The key itself is never seen again."""
    key = make(prefix)
    row = KeyRow(key.key_id, tenant, name, key.digest, scopes, now, expires_at)
    await catalog.put_key(row)
    return key, row


async def ensure_local_key(catalog: Catalog, home: Path, clock: Clock | None = None) -> str:
    """The key in `<home>/api-key` (mode 0600), made at the first start; registered again when the database is new."""
    path, now = home / "api-key", (clock or SystemClock()).now()
    while True:
        key = parse(_read(path))
        row = await catalog.key(key.key_id) if key else None
        if key and row is None:
            await catalog.put_key(KeyRow(key.key_id, LOCAL_TENANT, "local", key.digest, (ADMIN,), now))
        if key and (row is None or verify(key, row, now)):
            return key.text
        fresh, _ = await issue(catalog, LOCAL_TENANT, name="local", scopes=(ADMIN,), now=now)
        if write_private(path, fresh.text, replace=path.exists()):
            return fresh.text
        await catalog.revoke_key(LOCAL_TENANT, fresh.key_id, now)


def _checksum(body: str) -> str:
    return f"{zlib.crc32(body.encode()):08x}"


def _read(path: Path) -> str:
    return path.read_text().strip() if path.exists() else ""
