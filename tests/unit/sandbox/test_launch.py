"""The walls behind the interpreter, tried from inside: a shell in its place, and a look at a real worker."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from runtime.sandbox import launch
from runtime.sandbox.pool import Printed, Sandbox
from runtime.sandbox.program import Program

SHELL = os.path.realpath("/bin/bash")


def walled(script: str, *, stdin: int | None = None) -> subprocess.CompletedProcess[str]:
    """What a shell says that was started as a worker is."""
    command = [sys.executable, "-I", "-S", launch.__file__, SHELL, "-c", script]
    return subprocess.run(command, capture_output=True, text=True, stdin=stdin, timeout=50, check=False, env={**os.environ, "SECRET_KEY": "canary"})


@pytest.fixture
def port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_what_it_needs_goes():
    assert walled("echo $((1 + 1))").stdout == "2\n"


def test_it_has_no_environment():
    assert "canary" not in walled("export -p; set").stdout


def test_it_opens_no_connection(port):
    assert "not permitted" in walled(f"exec 3<>/dev/tcp/127.0.0.1/{port} && echo open").stderr


def test_it_starts_no_process():
    for script in ("(echo inner)", "/bin/ls /", f"exec {sys.executable} -c 'print(1)'"):
        ended = walled(script + " && echo outer")
        assert ended.returncode != 0
        assert "outer" not in ended.stdout


def test_it_signals_nobody():
    assert walled(f"kill -0 {os.getpid()} || echo refused").stdout == "refused\n"


def landlock() -> bool:
    return launch._call(launch.CREATE_RULESET, None, launch.ctypes.c_size_t(0), launch.ctypes.c_uint32(launch.VERSION)) > 0


@pytest.mark.skipif(not landlock(), reason="this kernel has no Landlock")
def test_it_reads_and_writes_no_file(tmp_path: Path):
    secret = tmp_path / "secret"
    secret.write_text("canary")
    ended = walled(
        f"read line < {secret}; echo $line; echo x > {tmp_path}/made; read line < /etc/passwd; echo $line; read line < /proc/{os.getpid()}/environ; echo $line"
    )
    assert ended.stdout.split() == []
    assert ended.stderr.count("Permission denied") == 4
    assert not (tmp_path / "made").exists()


def test_files_of_its_starter_are_closed(tmp_path: Path):
    with (tmp_path / "open").open("w") as file:
        command = [sys.executable, "-I", "-S", launch.__file__, SHELL, "-c", f"echo x >&{file.fileno()}"]
        assert "Bad file descriptor" in subprocess.run(command, capture_output=True, text=True, pass_fds=[file.fileno()], timeout=50, check=False).stderr


def test_there_is_a_filter_for_both_architectures_and_no_other():
    for machine in launch.ARCHES:
        program = launch._filter(machine)
        assert all(len(step) == 8 for step in program)
        assert len(program) < 256  # jumps are bytes
    with pytest.raises(OSError, match="riscv"):
        launch._filter("riscv64")


def test_a_wall_that_cannot_be_built_means_no_worker(tmp_path: Path):
    ended = subprocess.run([sys.executable, "-I", "-S", launch.__file__, str(tmp_path / "missing")], capture_output=True, text=True, timeout=50, check=False)
    assert ended.returncode == launch.UNFIT


def within(pid: int) -> tuple[set[str], bytes]:
    """What the kernel says of a process: its walls, and its environment."""
    place = Path(f"/proc/{pid}")
    return {line for line in (place / "status").read_text().splitlines() if line.startswith(("NoNewPrivs", "Seccomp:"))}, (place / "environ").read_bytes()


async def test_a_worker_stands_behind_them():
    sandbox = Sandbox(1)
    try:
        assert await sandbox.run(Program("return 1", "{}"), Printed()) == "1"
        [worker] = [process for process in psutil.Process().children() if process.name() == "monty"]
        assert within(worker.pid) == ({"NoNewPrivs:\t1", "Seccomp:\t2"}, b"")
    finally:
        await sandbox.close()
    assert not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE
