"""Handles of `single` servers: start, kill, start again, and talk to them. Several on one database are replicas and hosts of one platform."""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx2

ROOT = Path(__file__).parents[3]
START_SECONDS = 60


class Single:
    """One server process on a port that stays its own over restarts. `prefix` goes before the command: a tracer, for instance."""

    def __init__(self, home: Path, *, environment: Mapping[str, str] | None = None, log: Path | None = None, prefix: Sequence[str] = ()) -> None:
        self.home = home
        self.port = _free_port()
        self.log = log or home / f"single-{self.port}.log"
        self.prefix = list(prefix)
        self.starts = 0
        self._environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
            "AGENTIC_HOME": str(home),
            "API_PORT": str(self.port),
            "AGENTIC_LEASE_MS": "1000",
            "AGENTIC_PYTHON_MODULES": '["tests.chaos.tools.work"]',
            "AGENTIC_RUN_MODE": "live",
            "AGENTIC_LOG_FORMAT": "json",
            **(environment or {}),
        }
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.alive:
            self.stop()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def key(self) -> str:
        return (self.home / "api-key").read_text().strip()

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def pid(self) -> int:
        """Of the server, or of the tracer in front of it."""
        assert self.process is not None
        return self.process.pid

    def start(self, *, wait: bool = True) -> None:
        """Start the process and wait until it listens. Raises RuntimeError with its last words when it ends instead."""
        self.home.mkdir(parents=True, exist_ok=True)
        command = [*self.prefix, sys.executable, "-m", "tests.chaos.tools.single"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=ROOT, env=self._environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, start_new_session=True
            )
        self.starts += 1
        if wait:
            self.wait_ready()

    def wait_ready(self) -> None:
        """Return when it listens."""
        assert self.process is not None
        assert self.process.stdout is not None
        too_late = threading.Timer(START_SECONDS, self.kill)
        too_late.start()
        try:
            for line in self.process.stdout:
                if line == b"ready\n":
                    break
            else:
                raise RuntimeError(f"the server ended with {self.process.wait()}: {self.log.read_text(errors='replace')[-2000:]}")
        finally:
            too_late.cancel()
        threading.Thread(target=self.process.stdout.read, daemon=True).start()

    def kill(self) -> None:
        """SIGKILL, of a tracer in front of it too."""
        assert self.process is not None
        if self.alive:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        """SIGTERM, and wait until it has drained."""
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGTERM)
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def wait(self, seconds: float) -> int:
        """The exit status, once it has ended."""
        assert self.process is not None
        return self.process.wait(seconds)

    def client(self, *, timeout: float = 30) -> httpx2.Client:
        """A client with the local key."""
        return httpx2.Client(base_url=self.url, headers={"Authorization": f"Bearer {self.key}"}, timeout=timeout, trust_env=False)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
