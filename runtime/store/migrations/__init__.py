"""The schema's history: one line of revisions for both databases, each applied in one transaction with its version mark."""

from pathlib import Path

from sqlalchemy import Connection, Select, event, inspect, select, update
from sqlalchemy.sql import column, table

from runtime import failpoints
from runtime.errors import SchemaMismatch
from runtime.store.connect import connect
from runtime.store.database import Database
from runtime.store.faults import DATABASE_ERRORS, unavailable
from runtime.store.tables import metadata

HEAD = "0003"
"""The revision this code works with."""

_VERSION: Select[str] = select(column("version_num")).select_from(table("alembic_version"))

_TOUCH = update(table("alembic_version", column("version_num"))).values(version_num=column("version_num"))


async def upgrade(url: str) -> str:
    """Bring the schema up to date and return its revision. Raises StoreUnavailable, SchemaMismatch."""
    database = await connect(url)
    try:
        await prepare(database, migrate=True)
    finally:
        await database.close()
    return HEAD


async def current(url: str) -> str | None:
    """The schema's revision, None when the database is empty. Raises StoreUnavailable, SchemaMismatch."""
    database = await connect(url)
    try:
        return await database.run_writer(lambda: _looked_at(database))
    finally:
        await database.close()


async def prepare(database: Database, *, migrate: bool) -> None:
    """Make sure that the schema is at HEAD. Raises StoreUnavailable, SchemaMismatch."""
    try:
        await database.run_writer(lambda: _prepare(database, migrate=migrate))
    except DATABASE_ERRORS as error:
        raise unavailable(unknown=False) from error


def _looked_at(database: Database) -> str | None:
    with database.turn(), database.writer.connect() as connection:
        return revision(connection)


def _prepare(database: Database, *, migrate: bool) -> None:
    with database.turn(), database.writer.begin() as connection:
        found = revision(connection)
        if found == HEAD:
            return
        if not migrate:
            raise SchemaMismatch(f"the database's schema is at revision {found or 'none'}, this version needs {HEAD}: run `agentic db upgrade`")
        database.lock_migrations(connection)
        if revision(connection) != HEAD:
            _apply(connection)


def revision(connection: Connection) -> str | None:
    """The revision the database says it has, None when it is empty. Raises SchemaMismatch when it holds tables but no revision."""
    tables = set(inspect(connection).get_table_names())
    if "alembic_version" in tables:
        found: str | None = connection.execute(_VERSION).scalar()
        if found is not None:
            return found
    if tables & set(metadata.tables):
        raise SchemaMismatch("the database holds some of our tables but no revision: it was made by something else, or only half")
    return None


def touch(connection: Connection) -> None:
    """Write one row that is always there, with what it says already: the smallest write there is."""
    connection.execute(_TOUCH)


def _apply(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    found = revision(connection)
    if found is not None and found not in known:
        raise SchemaMismatch(f"the database's schema is at revision {found}, which this version does not know: a newer version made it")
    config.attributes["connection"] = connection
    if failpoints.ARMED:
        event.listen(connection, "before_cursor_execute", lambda *_: failpoints.reach("migrate.each"))
    command.upgrade(config, HEAD)
