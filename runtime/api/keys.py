"""API keys and stream tickets (runtime/tokens.py says what they look like), and the key a laptop gets at the first start."""

from pathlib import Path

from runtime.clock import Clock, SystemClock
from runtime.private_file import write_private
from runtime.store.catalog_protocol import Catalog, KeyRow
from runtime.tokens import KEY, Key, make, parse

READ, WRITE, ADMIN = "read", "write", "admin"
SCOPES = (READ, WRITE, ADMIN)
"""`write` includes `read`; `admin` includes both and manages keys, endpoints and hooks."""
LOCAL_TENANT = "default"


def verify(key: Key, row: KeyRow | None, now: int) -> bool:
    """Whether `row` is this key's, neither expired nor revoked at `now` (ms). Takes the same time for a missing row."""
    same = key.matches(row.digest if row is not None else None)
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
        if key is not None and key.prefix != KEY:
            key = None
        row = await catalog.key(key.key_id) if key else None
        if key and row is None:
            await catalog.put_key(KeyRow(key.key_id, LOCAL_TENANT, "local", key.digest, (ADMIN,), now))
        if key and (row is None or verify(key, row, now)):
            return key.text
        fresh, _ = await issue(catalog, LOCAL_TENANT, name="local", scopes=(ADMIN,), now=now)
        if write_private(path, fresh.text, replace=path.exists()):
            return fresh.text
        await catalog.revoke_key(LOCAL_TENANT, fresh.key_id, now)


def _read(path: Path) -> str:
    return path.read_text().strip() if path.exists() else ""
