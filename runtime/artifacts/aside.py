"""Content set aside: no run referred to it, so it is about to go, but it can still be read until then.

Neither a folder nor a bucket can delete "unless somebody has stored the same again meanwhile". So content is never deleted where
`put` looks for it. It is set aside first, under a name of its own with the time; readers look there too. A day later whoever
collects asks once more who refers to it: what has got a reference meanwhile goes back, the rest goes for good.
"""

import re
from dataclasses import dataclass

DIGEST = re.compile(r"[0-9a-f]{64}")
"""The name of content: its SHA-256 in hex."""
LOOKS = 3
"""How often a reader looks in both places before it says that content is missing: it is moved seldom, but it may be at that moment."""
_NAME = re.compile(r"([0-9a-f]{64})\.(\d{1,15})")


@dataclass(frozen=True, slots=True)
class Stored:
    """Content in its place. `modified` (ms) is when it was stored, by the store's clock."""

    digest: str
    size: int
    modified: int


@dataclass(frozen=True, slots=True, order=True)
class SetAside:
    """Content that was set aside at `at` (ms). The same content may have been set aside several times."""

    digest: str
    at: int

    @property
    def name(self) -> str:
        """Its name in the folder or bucket, below the place for what is set aside."""
        return f"{self.digest[:2]}/{self.digest[2:4]}/{self.digest}.{self.at}"


def parse_aside(name: str) -> SetAside | None:
    """The inverse of `name`, from its last part; None when it is something else."""
    match = _NAME.fullmatch(name.rpartition("/")[2])
    return SetAside(match[1], int(match[2])) if match else None
