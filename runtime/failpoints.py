"""Named places where a test may hurt this process: kill it, pause it, let a call fail, or lose an answer that was already given.

Armed only by the environment variable AGENTIC_FAIL_POINTS, which names a folder; without it every place is one test of a constant.
A ticket is a file `<point>~<anything>` in that folder with the JSON `{"action", "seconds"?, "key"?, "keep"?}`. The first process that
reaches the point takes the ticket away and acts; with `key` only where the key is the same, with `keep` the ticket stays for the next.
What was done stands in `log.jsonl` beside the tickets. The idea is Temporal's test hooks; the places are listed in docs/durability.md.

A file `fence.<name>` takes one of the journal's guards out, so that a harness can show that it finds what the guard prevents.
"""

import contextlib
import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any, Final

from runtime.errors import StoreUnavailable

VARIABLE = "AGENTIC_FAIL_POINTS"
ARMED: Final = bool(os.environ.get(VARIABLE))
"""Whether this process may be hurt at all. Hot places ask this before they call."""


class AnswerLost(ConnectionError):
    """The other side has done its work, and its answer never arrives."""


def reach(point: str, key: str = "") -> None:
    """This place is reached; whoever holds a ticket for it acts now. Raises StoreUnavailable (`error`), AnswerLost (`drop-answer`)."""
    if ARMED:
        for ticket in sorted(_folder().glob(f"{point}~*")):
            _act(point, key, ticket)


def without(fence: str) -> bool:
    """Whether this guard has been taken out."""
    return ARMED and (_folder() / f"fence.{fence}").exists()


def _folder() -> Path:
    return Path(os.environ[VARIABLE])


def _act(point: str, key: str, ticket: Path) -> None:
    wanted = _taken(ticket, key)
    if wanted is None:
        return
    action = wanted["action"]
    _note({"point": point, "key": key, "action": action, "pid": os.getpid(), "at": time.time()})
    if action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif action == "pause":
        _pause(float(wanted.get("seconds", 1.0)))
    elif action == "error":
        raise StoreUnavailable(f"fail point {point}")
    elif action == "drop-answer":
        raise AnswerLost(f"fail point {point}")


def _taken(ticket: Path, key: str) -> dict[str, Any] | None:
    """What the ticket wants, once it is ours; None when it is for another key, or another process was quicker."""
    try:
        wanted: dict[str, Any] = json.loads(ticket.read_text())
        if wanted.get("key") not in (None, key):
            return None
        if not wanted.get("keep"):
            ticket.unlink()
    except FileNotFoundError:
        return None
    return wanted


def _pause(seconds: float) -> None:
    """Stop the whole process, as a frozen machine would; a child that is not stopped wakes it."""
    with contextlib.suppress(ProcessLookupError):
        subprocess.Popen(["/bin/sh", "-c", f"sleep {seconds:f}; kill -CONT {os.getpid()}"], start_new_session=True)  # noqa: S603 - a number and our own pid
        os.kill(os.getpid(), signal.SIGSTOP)


def _note(line: dict[str, Any]) -> None:
    descriptor = os.open(_folder() / "log.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, (json.dumps(line) + "\n").encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
