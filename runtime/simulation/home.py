"""A place for runs that leaves no trace: a database and a folder that go with it, and settings without a key or an address."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from runtime.settings import Settings
from runtime.store.open import open_store

PATIENCE_MS = 10**15
"""Nothing leaves memory because it is due late: the clock that knows when it is due is here."""
FILE = "workflows.db"

_template: list[bytes] = []
"""An empty database of the present schema, once one was made: making it takes a second, copying it a millisecond."""


@asynccontextmanager
async def throwaway(settings: Settings) -> AsyncIterator[Settings]:
    """`settings` for a platform in a folder of its own, which is removed at the end."""
    with tempfile.TemporaryDirectory(prefix="agentic-", ignore_cleanup_errors=True) as folder:
        home = Path(folder)
        if not _template:
            _template.append(await _made(home / "template"))
        database = home / "db" / FILE
        await asyncio.to_thread(_write, database, _template[0])
        yield settings.model_copy(
            update={
                **dict.fromkeys(Settings.secrets()),
                "home": home,
                "database_url": f"sqlite:///{database}",
                "database_password_file": None,
                "durability": "relaxed",
                "artifacts_storage": "local",
                "artifacts_path": None,
                "passivate_after_ms": PATIENCE_MS,
                "runs_per_actor": max(settings.runs_per_actor, 10_000),
                "drain_ms": 0,
            }
        )


async def _made(folder: Path) -> bytes:
    store = await open_store(f"sqlite:///{folder / FILE}", durability="relaxed")
    await store.close()
    return await asyncio.to_thread((folder / FILE).read_bytes)


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(mode=0o700)
    path.write_bytes(data)
