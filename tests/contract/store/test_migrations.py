"""One history for both databases; nothing is served on a schema that is half there or unknown."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest
import pytest_asyncio
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text

from runtime.errors import SchemaMismatch, StoreUnavailable
from runtime.store import migrations
from runtime.store.connect import connect
from runtime.store.open import Store, open_store
from runtime.store.tables import metadata


@pytest_asyncio.fixture
async def empty_url(database_url: str, tmp_path: object) -> AsyncIterator[str]:
    """A database without any table; it is empty again afterwards, for the tests that share it."""
    if database_url.startswith("sqlite"):
        yield f"sqlite:///{tmp_path}/empty.db"
        return
    await _empty(database_url)
    yield database_url
    await _empty(database_url)


async def _empty(url: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    await connection.close()


async def execute(url: str, *statements: str) -> None:
    database = await connect(url)

    def run() -> None:
        with database.turn(), database.writer.begin() as connection:
            for statement in statements:
                connection.execute(text(statement))

    await database.run_writer(run)
    await database.close()


def differences(connection: Connection) -> list[object]:
    options = {"compare_type": False, "compare_server_default": False}
    return list(compare_metadata(MigrationContext.configure(connection, opts=options), metadata))


async def test_upgrade_makes_exactly_the_tables_the_code_uses(empty_url: str):
    assert await migrations.current(empty_url) is None
    assert await migrations.upgrade(empty_url) == migrations.HEAD
    assert await migrations.current(empty_url) == migrations.HEAD
    store = await open_store(empty_url, migrate=False)
    assert await store.reader.read(differences) == []
    assert await store.reader.read(lambda connection: {index["name"] for index in inspect(connection).get_indexes("events")}) >= {
        "uq_events_run_end",
        "uq_events_step_end",
        "uq_events_step_started",
    }
    await store.close()


async def test_an_upgrade_of_what_is_up_to_date_changes_nothing(empty_url: str):
    await migrations.upgrade(empty_url)
    assert await migrations.upgrade(empty_url) == migrations.HEAD


async def test_many_processes_may_open_an_empty_database_at_once(empty_url: str):
    stores = await asyncio.gather(*(open_store(empty_url) for _ in range(4)))
    for store in stores:
        assert await store.journal.active_runs() == 0
        await store.close()


async def test_without_migrate_an_empty_database_is_refused(empty_url: str):
    with pytest.raises(SchemaMismatch, match="db upgrade"):
        await open_store(empty_url, migrate=False)


async def test_a_half_or_unknown_schema_is_refused(empty_url: str):
    await execute(empty_url, "CREATE TABLE runs (run_id TEXT)")
    for attempt in (open_store(empty_url), migrations.upgrade(empty_url), migrations.current(empty_url)):
        with pytest.raises(SchemaMismatch, match="half"):
            await attempt


async def test_a_schema_of_a_newer_version_is_refused(empty_url: str):
    await migrations.upgrade(empty_url)
    await execute(empty_url, "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(SchemaMismatch, match="newer"):
        await open_store(empty_url)


async def test_a_migration_that_fails_leaves_nothing_behind(empty_url: str, monkeypatch: pytest.MonkeyPatch):
    from alembic import op

    original = op.create_index

    def fail_late(name: str, *args: object, **kw: object) -> None:
        if name == "uq_events_step_started":
            raise RuntimeError("killed")
        original(name, *args, **kw)  # type: ignore[arg-type]

    monkeypatch.setattr(op, "create_index", fail_late)
    with pytest.raises(RuntimeError):
        await open_store(empty_url)
    assert await migrations.current(empty_url) is None
    monkeypatch.undo()
    await (await open_store(empty_url)).close()


async def test_what_old_journals_refer_to_is_noted_by_the_upgrade(empty_url: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(migrations, "HEAD", "0001")
    await migrations.upgrade(empty_url)
    monkeypatch.undo()
    digests = [f"{n:02x}" * 32 for n in range(3)]
    bodies = [f'{{"output":{{"$artifact":{{"sha256":"{digest}","size":70000,"media_type":"application/json"}}}}}}' for digest in digests]
    rows = [f"('r{n}', {seq}, 1, 'step.succeeded', '{bodies[n].replace(':', chr(92) + ':')}', 1, 0)" for n in range(2) for seq in (1, 2)]
    letter = bodies[2].replace(":", "\\:")
    await execute(
        empty_url,
        f"INSERT INTO events (run_id, seq, epoch, kind, body, at, crc) VALUES {', '.join(rows)}, ('r3', 1, 1, 'run.created', '{{}}', 1, 0)",
        f"INSERT INTO inbox (run_id, message_id, kind, body, at) VALUES ('r0', 'm', 'signal', '{letter}', 1)",
    )
    store = await open_store(empty_url)
    found = await store.reader.read(lambda connection: {tuple(row) for row in connection.execute(text("SELECT run_id, digest FROM value_refs"))})
    await store.close()
    assert found == {("r0", digests[0]), ("r1", digests[1]), ("r0", digests[2])}


def test_the_history_is_one_line_that_ends_at_head():
    from pathlib import Path

    scripts = ScriptDirectory(str(Path(migrations.__file__).parent))
    assert scripts.get_heads() == [migrations.HEAD]
    assert len(scripts.get_bases()) == 1


async def test_the_store_answers_a_ping(store: Store):
    await store.ping()
    assert store.durability == "full"


async def test_relaxed_durability_is_shown(empty_url: str):
    store = await open_store(empty_url, durability="relaxed")
    assert store.durability == "relaxed"
    await store.close()


@pytest.mark.parametrize("url", ["mysql://h/d", "nonsense", "sqlite://", "sqlite:///:memory:", "postgresql://127.0.0.1:1/none", "sqlite:////proc/none/x.db"])
async def test_what_cannot_be_opened_says_so(url: str):
    with pytest.raises(StoreUnavailable):
        await open_store(url)
