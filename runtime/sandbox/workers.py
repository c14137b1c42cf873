"""How a worker process is started: the interpreter's binary, behind the walls of `launch.py`."""

import os
import shlex
import shutil
import sys
import tempfile
from pathlib import Path

from runtime.sandbox import launch


class Launcher:
    """A small executable in a private folder: the interpreter's library starts one file, and the walls have to come first.

    `with Launcher() as path`; gone afterwards, which workers that run do not notice.
    """

    def __enter__(self) -> Path:
        """Raises OSError, also when the interpreter is not installed."""
        from pydantic_monty._binary import find_monty_binary

        binary = os.path.realpath(find_monty_binary())
        command = shlex.join((sys.executable, "-I", "-S", str(Path(launch.__file__).absolute()), binary))
        self._folder = Path(tempfile.mkdtemp(prefix="agentic-code-"))
        path = self._folder / "worker"
        path.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
        path.chmod(0o700)
        return path

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
