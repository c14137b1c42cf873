"""One local Ray cluster: its processes are started here, found by their mark, and only they are ended."""

import contextlib
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import psutil  # type: ignore[import-untyped]  # it ships no types

from actors.environment import MARK, Files, Ports
from runtime.errors import AgenticError

START_SECONDS = 90
OBJECT_STORE_BYTES = 128 * 2**20
"""Steps pass values by reference, so Ray's shared memory stays nearly empty."""
TERM_SECONDS = 2.0
"""All work was handed over before; this is for Ray to remove its sockets and shared memory."""


class PlatformFailed(AgenticError):
    """The platform could not be started; the message names the log."""

    code = "platform_failed"


def ray_start(environment: Mapping[str, str], ports: Ports, folder: Path, log: Path, *, cores: int | None = None) -> None:
    """Start a head node in the background. Raises PlatformFailed with the end of its log."""
    command = [
        *(sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--disable-usage-stats", "--no-monitor"),
        f"--port={ports.gcs}",
        "--node-ip-address=127.0.0.1",
        "--include-dashboard=true",
        "--dashboard-host=127.0.0.1",
        f"--dashboard-port={ports.dashboard}",
        f"--dashboard-agent-listen-port={ports.agent}",
        f"--ray-client-server-port={ports.client}",
        # Any free port: a fixed range would meet the ports of other clusters on this machine.
        "--min-worker-port=0",
        "--max-worker-port=0",
        f"--temp-dir={folder}",
        f"--object-store-memory={OBJECT_STORE_BYTES}",
    ]
    command += [f"--num-cpus={cores}"] if cores is not None else []
    # `ray start` refuses to run with an address of a cluster to join.
    run(command, {name: value for name, value in environment.items() if name != "RAY_ADDRESS"}, log, START_SECONDS)


def run(command: list[str], environment: Mapping[str, str], log: Path, timeout: float) -> None:
    """Run to the end, output into `log`. In a session of its own: a Ctrl-C in the terminal must not reach Ray. Raises PlatformFailed."""
    with log.open("ab") as output:
        process = subprocess.Popen(command, env=dict(environment), stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True)  # noqa: S603 - our own interpreter and arguments
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            raise PlatformFailed(f"{_name(command)} took longer than {timeout:g} s; see {log}") from None
    if code:
        raise PlatformFailed(f"{_name(command)} ended with code {code}; {_last_line(log)} ({log})")


def processes(files: Files) -> list[psutil.Process]:
    """All processes of this platform, whoever their parents are now."""
    found: dict[int, psutil.Process] = {}
    for process in psutil.process_iter():
        # A process may end while it is looked at; one of another user cannot be ours.
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            if _belongs(process, files):
                found.update({each.pid: each for each in (process, *process.children(recursive=True))})
    return list(found.values())


def end_processes(files: Files) -> int:
    """End what is left of a platform: politely, then for good. Returns how many there were."""
    first = processes(files)
    for process in first:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    _, left = psutil.wait_procs(first, timeout=TERM_SECONDS)
    until = time.monotonic() + TERM_SECONDS
    while (left := {*left, *processes(files)}) and time.monotonic() < until:
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        _, left = psutil.wait_procs(left, timeout=1)
    return len(first)


def _belongs(process: psutil.Process, files: Files) -> bool:
    """By its environment, or by where its output goes: a Ray worker writes its title over its environment."""
    if process.environ().get(MARK) == files.platform:
        return True
    try:
        return Path(f"/proc/{process.pid}/fd/1").readlink().is_relative_to(files.folder)
    except OSError:  # ended, or has no standard output
        return False


def _name(command: list[str]) -> str:
    return "`ray start`" if "ray.scripts.scripts" in command else "`" + " ".join(command[1:]) + "`"


def _last_line(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1][:500] if lines else "it wrote nothing"
