"""The list of trials on this stage, and what a trial says at its end."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Verdict:
    """`done` injections of `wanted`; no violations, or what they were."""

    name: str
    database: str
    wanted: int
    done: int = 0
    violations: list[str] = field(default_factory=list)
    notes: dict[str, Any] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        return self.done >= self.wanted and not self.violations


Run = Callable[[Path, str, int], Awaitable[Verdict]]


@dataclass(frozen=True)
class Trial:
    """One fault on this stage. `bar`: injections before a release, all databases together."""

    name: str
    title: str
    bar: int
    databases: tuple[str, ...]
    run: Run


TRIALS: dict[str, Trial] = {}


def trial(name: str, title: str, *, bar: int, databases: tuple[str, ...] = ("sqlite", "postgresql")) -> Callable[[Run], Run]:
    """Register: `@trial("F9", "…", bar=1000)` over an `async def (folder, database, count) -> Verdict`."""

    def add(run: Run) -> Run:
        if name in TRIALS:
            raise ValueError(f"there are two trials named {name}")
        TRIALS[name] = Trial(name, title, bar, databases, run)
        return run

    return add
