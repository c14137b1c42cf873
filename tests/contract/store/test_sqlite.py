"""What only SQLite needs: its settings, its refusals, its faults."""

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from runtime.errors import StoreUnavailable
from runtime.store import sqlite
from runtime.store.open import Store, open_store
from runtime.store.sqlite import file_system
from tests.contract.store.desk import Desk, new_run


@pytest_asyncio.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = await open_store(f"sqlite:///{tmp_path}/folder/workflows.db")
    yield store
    await store.close()


async def test_the_settings_durability_rests_on(store: Store):
    def pragma(name: str) -> object:
        with store.database.writer.connect() as connection:
            return connection.exec_driver_sql(f"PRAGMA {name}").scalar()

    found = {
        name: await store.database.run_writer(lambda name=name: pragma(name)) for name in ("journal_mode", "synchronous", "foreign_keys", "trusted_schema")
    }
    assert found == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "trusted_schema": 0}
    assert await store.database.run_writer(lambda: pragma("busy_timeout")) == 10_000


@pytest.mark.parametrize(
    ("mounts", "path", "kind"),
    [
        (["/dev/a / ext4 rw 0 0", "server:/x /mnt/data nfs4 rw 0 0"], "/mnt/data/db/w.db", "nfs4"),
        (["/dev/a / ext4 rw 0 0", "server:/x /mnt/data nfs4 rw 0 0"], "/mnt/database/w.db", "ext4"),
        (["/dev/a / ext4 rw 0 0", "//s/x /mnt/with\\040blank cifs rw 0 0"], "/mnt/with blank/w.db", "cifs"),
        (["/dev/a / ext4 rw 0 0", "x /mnt nfs rw 0 0", "/dev/b /mnt ext4 rw 0 0"], "/mnt/w.db", "ext4"),
    ],
)
def test_the_file_system_of_a_path(mounts: list[str], path: str, kind: str):
    assert file_system(Path(path), mounts) == kind


async def test_a_network_file_system_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sqlite, "file_system", lambda _path, _mounts: "nfs4")
    with pytest.raises(StoreUnavailable, match="network file system"):
        await open_store(f"sqlite:///{tmp_path}/w.db")


async def test_a_lock_held_by_a_stranger_is_an_unavailable_store(store: Store, tmp_path: Path):
    """Somebody who does not take turns (a backup, a person with sqlite3) holds the lock longer than the busy timeout."""

    def impatient() -> None:
        with store.database.writer.connect() as connection:
            connection.exec_driver_sql("PRAGMA busy_timeout=1")

    await store.database.run_writer(impatient)
    stranger = sqlite3.connect(tmp_path / "folder" / "workflows.db", isolation_level=None)
    stranger.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable):
        await Desk(store).submit()
    assert await store.journal.active_runs() == 0, "reads go on"
    stranger.execute("ROLLBACK")
    stranger.close()
    await Desk(store).submit()


async def test_a_full_disk_is_an_unavailable_store_until_there_is_room(store: Store):
    def limit(pages: int) -> None:
        with store.database.writer.connect() as connection:
            connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")

    desk = Desk(store)
    run_id = await desk.submit()
    await store.database.run_writer(lambda: limit(1))  # SQLite raises it to the present size: not a page more
    with pytest.raises(StoreUnavailable):
        await desk.journal.submit([new_run(labels={"filler": "x" * 4000}) for _ in range(100)])
    assert await desk.run(run_id)
    await store.database.run_writer(lambda: limit(1_000_000))
    await desk.submit()
