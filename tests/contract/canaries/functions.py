"""Functions that give secrets away as well as they can."""

import base64
import os
from pathlib import Path
from typing import Any

from runtime.errors import StepFailed

KNOWN: dict[str, str] = {}
"""Secrets by name; filled by the test, in its own process."""

WRITTEN = {
    "plain": str,
    "repr": repr,
    "base64": lambda secret: base64.b64encode(b"x" + secret.encode()).decode(),
    "hex": lambda secret: secret.encode().hex(),
    "long": lambda secret: "x" * 4070 + secret,
}


class Custom(Exception):
    """An exception whose text is made late."""

    def __str__(self) -> str:
        return f"custom {self.args[0]}"


def in_thread(name: str, how: str) -> None:
    """Raise with the secret in the message, from an error that has it too."""
    try:
        raise KeyError(KNOWN[name])
    except KeyError as error:
        raise Custom(WRITTEN[how](KNOWN[name])) from error


async def in_loop(name: str, how: str, context: Any) -> None:
    """Log it, and raise it with details."""
    context.log.warning("it is", secret=WRITTEN[how](KNOWN[name]))
    raise StepFailed("told", f"it is {WRITTEN[how](KNOWN[name])}", details={"deep": [{"secret": KNOWN[name]}], KNOWN[name]: 1})


def environment(file: str) -> list[str]:
    """Copy this process's environment into a file; the names of its variables."""
    Path(file).write_bytes(Path("/proc/self/environ").read_bytes())
    return sorted(os.environ)


def die() -> None:
    """End the process in the way of a crash."""
    os.abort()
