"""One real platform: started as `agentic up` starts it, its processes found by what they do, and hurt by pid."""

import asyncio
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterable
from contextlib import closing, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import asyncpg
import psutil

from actors.cluster import PlatformFailed, processes
from actors.environment import MARK
from actors.lifecycle import Urls, attached_environment, platform_files, start_platform, stop_platform
from runtime.settings import Settings
from tests.chaos.failpoints import VARIABLE, FailPoints

STARTS = 3
"""Tries to start a platform."""


class Role(StrEnum):
    """What a process of the platform does."""

    WORKFLOW = "WorkflowActor"
    AGENT = "AgentActor"
    SUPERVISOR = "SupervisorActor"
    REPLICA = "Serve replica"
    CONTROLLER = "Serve controller"
    HAPROXY = "HAProxy"
    PROXY = "Serve proxy"
    RAYLET = "raylet"
    GCS = "gcs_server"
    ISOLATED = "isolated step"
    OTHER = "other"


_TITLES = (
    (Role.WORKFLOW, re.compile(r"^ray::WorkflowActor")),
    (Role.AGENT, re.compile(r"^ray::AgentActor")),
    (Role.SUPERVISOR, re.compile(r"^ray::SupervisorActor")),
    (Role.REPLICA, re.compile(r"^ray::ServeReplica")),
    (Role.CONTROLLER, re.compile(r"^ray::ServeController")),
    (Role.HAPROXY, re.compile(r"(^|/)haproxy( |$)")),
    (Role.PROXY, re.compile(r"^ray::(ProxyActor|HAProxyManager|\w*Proxy\w*)")),
    (Role.RAYLET, re.compile(r"/raylet( |$)")),
    (Role.GCS, re.compile(r"/gcs_server( |$)")),
    (Role.ISOLATED, re.compile(r"^ray::[a-z0-9-]+/[A-Za-z_]")),
)


def role_of(title: str) -> Role:
    """By the process's title. A step with a process of its own is called by its workflow and id."""
    return next((role for role, pattern in _TITLES if pattern.search(title)), Role.OTHER)


@dataclass(frozen=True)
class Proc:
    """A process and the moment it was seen."""

    pid: int
    role: Role
    title: str
    created: float


@dataclass
class PlatformHandle:
    """`settings` is all there is to know; two handles with the same settings mean the same platform."""

    settings: Settings
    fail_points: FailPoints
    cores: int = 2
    urls: Urls | None = None
    started_seconds: list[float] = field(default_factory=list)
    failed_starts: list[str] = field(default_factory=list)
    _starting: asyncio.Future[Urls] | None = None
    _actors: dict[tuple[int, float], Role] = field(default_factory=dict)

    @property
    def api(self) -> str:
        return f"http://127.0.0.1:{self.settings.api_port}"

    @property
    def key(self) -> str:
        return (self.settings.home / "api-key").read_text().strip()

    async def start(self) -> float:
        """Start it, or start it again on what it left behind; seconds until it was ready. Raises PlatformFailed."""
        started = time.monotonic()
        os.environ[VARIABLE] = str(self.fail_points.folder)
        for left in reversed(range(STARTS)):
            try:
                self._starting = asyncio.ensure_future(asyncio.to_thread(start_platform, self.settings, cores=self.cores))
                self.urls = await asyncio.shield(self._starting)
                break
            except PlatformFailed as failure:
                # Ray gives a process seconds to start, which a machine that does much else may not be able to keep.
                self.failed_starts.append(str(failure)[:200])
                if not left:
                    raise
        self.started_seconds.append(time.monotonic() - started)
        return self.started_seconds[-1]

    async def stop(self) -> None:
        """Drain and stop."""
        await asyncio.to_thread(stop_platform, self.settings)

    async def procs(self, *roles: Role) -> list[Proc]:
        """Living processes of these roles (of all when none is named), oldest first."""
        return await asyncio.to_thread(self._procs, roles)

    def _procs(self, roles: Iterable[Role] = ()) -> list[Proc]:
        found = []
        wanted = set(roles)
        for process in self._ours():
            with suppress(psutil.Error):
                if process.status() == psutil.STATUS_ZOMBIE:
                    continue
                title = " ".join(process.cmdline())
                role = self._role(process, title)
                if not wanted or role in wanted:
                    found.append(Proc(process.pid, role, title, process.create_time()))
        return sorted(found, key=lambda each: (each.created, each.pid))

    def _role(self, process: psutil.Process, title: str) -> Role:
        """An actor may show the title of what it carries out; once an actor, always an actor."""
        key, role = (process.pid, process.create_time()), role_of(title)
        if role in (Role.WORKFLOW, Role.AGENT):
            self._actors[key] = role
        return self._actors.get(key, role)

    def _ours(self) -> list[psutil.Process]:
        try:
            return list(processes(platform_files(self.settings)))
        except KeyError:
            return []  # it was not started, or is stopped

    async def left_over(self, platform: str) -> list[Proc]:
        """Processes that carry the mark of a platform that was stopped."""

        def look() -> list[Proc]:
            found = []
            for process in psutil.process_iter():
                with suppress(psutil.Error):
                    if process.environ().get(MARK) == platform and process.status() != psutil.STATUS_ZOMBIE:
                        title = " ".join(process.cmdline())
                        found.append(Proc(process.pid, role_of(title), title, process.create_time()))
            return found

        return await asyncio.to_thread(look)

    @property
    def platform_id(self) -> str:
        return platform_files(self.settings).platform

    async def kill_everything(self) -> int:
        """`kill -9` of every process at once, as a power cut would; how many there were. `start` starts it again."""

        def end() -> int:
            count = 0
            while found := self._ours():
                for process in found:
                    with suppress(psutil.Error):
                        process.kill()
                        count += 1
                psutil.wait_procs(found, timeout=5)
            return count

        return await asyncio.to_thread(end)

    async def end(self) -> None:
        """Nothing of it lives afterwards, also when it was about to start: a thread that starts processes cannot be canceled."""
        await self.kill_everything()
        while self._starting is not None and not self._starting.done():
            await asyncio.sleep(0.2)
            await self.kill_everything()
        if self._starting is not None and not self._starting.cancelled():
            self._starting.exception()  # whoever waited for it has it already, or is gone

    async def owners(self) -> dict[int, str]:
        """pid → owner id of the WorkflowActors' present incarnations, from the table `owners` (used to aim and to time, never to judge)."""
        rows = await self._rows("SELECT owner, host, started_at FROM owners ORDER BY started_at")
        return {int(host.rpartition(":")[2]): owner for owner, host, _ in rows}

    async def _rows(self, query: str) -> list[tuple[Any, ...]]:
        url = self.settings.database
        if url.startswith("sqlite"):
            return await asyncio.to_thread(_sqlite_rows, url.removeprefix("sqlite:///"), query)
        connection = await asyncpg.connect(url.replace("+asyncpg", ""), timeout=10)
        try:
            return [tuple(row) for row in await connection.fetch(query)]
        finally:
            await connection.close()

    async def in_driver(self, code: str, seconds: float = 60) -> str:
        """Run Python in a process that has joined the cluster; its output. Raises CalledProcessError, TimeoutExpired."""
        prelude = "import os, ray\nray.init(address=os.environ['RAY_ADDRESS'], namespace='agentic', log_to_driver=False)\n"
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-c", prelude + code],
            env=attached_environment(self.settings),
            capture_output=True,
            text=True,
            timeout=seconds,
            check=True,
            start_new_session=True,
        )
        return done.stdout

    def measure(self) -> dict[str, tuple[int, float, float]]:
        """Role → (processes, mean PSS in MiB, mean open files) of our actors and replicas."""
        found: dict[str, list[tuple[float, float]]] = {}
        for proc in self._procs((Role.WORKFLOW, Role.AGENT, Role.SUPERVISOR, Role.REPLICA)):
            with suppress(psutil.Error, OSError):
                process = psutil.Process(proc.pid)
                found.setdefault(proc.role, []).append((process.memory_full_info().pss / 2**20, float(process.num_fds())))
        return {role: (len(each), sum(m for m, _ in each) / len(each), sum(f for _, f in each) / len(each)) for role, each in found.items()}


def _sqlite_rows(path: str, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)) as connection:
        return list(connection.execute(query))


def send(proc: Proc, number: signal.Signals) -> bool:
    """Send the signal to this very process; False when it is gone, or its pid has another one now."""
    try:
        process = psutil.Process(proc.pid)
        if abs(process.create_time() - proc.created) > 0.5 or process.status() == psutil.STATUS_ZOMBIE:
            return False
        process.send_signal(number)
    except psutil.Error:
        return False
    return True


def folder_size(path: Path) -> int:
    """Bytes of all files below."""
    return sum(each.stat().st_size for each in path.rglob("*") if each.is_file())
