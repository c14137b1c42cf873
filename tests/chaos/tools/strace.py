"""strace as a fault tool: start a process that dies or fails at its N-th system call, or turn such faults on and off in a running one.

strace counts per thread. The product's SQLite writer is one thread, so N counts its commits.
"""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.chaos.tools.singles import Single


def available() -> bool:
    """Whether strace is installed and may trace a process here."""
    program = shutil.which("strace")
    if program is None:
        return False
    return subprocess.run([program, "-o", "/dev/null", "-e", "trace=none", "true"], capture_output=True, check=False).returncode == 0


def kill_at(syscall: str, number: int) -> list[str]:
    """Before a command: it is killed (SIGKILL) when a thread enters this system call for the `number`-th time."""
    return ["strace", "-f", "-qqq", "-o", "/dev/null", "-e", f"trace={syscall}", "-e", f"inject={syscall}:signal=SIGKILL:when={number}"]


def recorded(output: Path, syscalls: Sequence[str], *, characters: int = 8192) -> list[str]:
    """Before a command: its system calls go to `output`, with descriptors named and times."""
    return ["strace", "-f", "-qqq", "-yy", "-ttt", "-s", str(characters), "-o", str(output), "-e", f"trace={','.join(syscalls)}"]


@contextmanager
def failing(server: Single, syscall: str, error: str, when: str, log: Path, *, path: Path | None = None) -> Iterator[None]:
    """Inside the block the system call of the running server fails with `error`. `when`: `3` once, `3+` from the third on.

    `path`: only on descriptors of this file. `log` gets the calls that were traced; injected ones say so.
    """
    only = ["-P", str(path)] if path is not None else []
    command = [
        "strace",
        "-f",
        "-p",
        str(server.pid),
        "-o",
        str(log),
        "-y",
        "-s",
        "0",
        *only,
        "-e",
        f"trace={syscall}",
        "-e",
        f"inject={syscall}:error={error}:when={when}",
    ]
    tracer = subprocess.Popen(command, stderr=subprocess.PIPE, start_new_session=True)
    assert tracer.stderr is not None
    try:
        line = tracer.stderr.readline()
        assert b"attached" in line, line
        yield
    finally:
        if tracer.poll() is None:
            os.kill(tracer.pid, signal.SIGINT)  # strace detaches, and the server goes on
        tracer.wait(20)
        tracer.stderr.close()


def injected(log: Path) -> int:
    """How many calls of a log were made to fail or killed."""
    return log.read_text(errors="replace").count("(INJECTED)")
