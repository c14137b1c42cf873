"""A small disk that can be filled and freed: a tmpfs of its own. Needs the right to mount."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class SmallDisk:
    """A mounted tmpfs."""

    path: Path

    @property
    def free(self) -> int:
        """Bytes that may still be written."""
        state = os.statvfs(self.path)
        return state.f_bavail * state.f_frsize

    def fill(self, leave: int = 0) -> None:
        """Take all room but `leave` bytes with a file."""
        with (self.path / "ballast").open("ab") as ballast:
            while (rest := self.free - leave) >= 4096:
                try:
                    ballast.write(bytes(min(rest, 2**20)))
                    ballast.flush()
                except OSError:  # whoever else writes here was quicker
                    return

    def empty(self) -> None:
        """Give the room back."""
        (self.path / "ballast").unlink(missing_ok=True)


def may_mount() -> bool:
    """Whether this process may mount at all."""
    return os.geteuid() == 0


@contextmanager
def small_disk(path: Path, megabytes: int = 64) -> Iterator[SmallDisk]:
    """Mounted at `path` inside the block. Raises CalledProcessError when mounting is not allowed."""
    path.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=0700", "tmpfs", str(path)], check=True)
    try:
        yield SmallDisk(path)
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)
