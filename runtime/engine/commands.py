"""What a turn wants done in the world. Data only; the host carries them out after the turn's events are committed."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class StartStep:
    """Have one attempt of one step carried out. `scope` holds the values its templates name.

    `alone`: in a process of its own, because processes have died of it. `recovered`: it may be in flight since an earlier owner.
    `conversation`: the name of the one it takes part in, as it stands when the step goes out.
    """

    step: str
    iteration: int | None
    attempt: int
    scope: dict[str, Any]
    timeout_ms: int | None
    calls: tuple[dict[str, Any], ...] = ()
    alone: bool = False
    recovered: bool = False
    conversation: str | None = None


@dataclass(frozen=True, slots=True)
class StartItems:
    """The same for a batch of a map's items: `items` is (index, attempt, value)."""

    step: str
    items: tuple[tuple[int, int, Any], ...]
    scope: dict[str, Any]
    timeout_ms: int | None
    calls: tuple[dict[str, Any], ...] = ()
    alone: bool = False
    recovered: bool = False


@dataclass(frozen=True, slots=True)
class StopStep:
    """Stop whatever is in flight for this step; its results no longer count."""

    step: str


@dataclass(frozen=True, slots=True)
class StartChild:
    """Submit a run of another workflow, once: `child` is its id, decided here, so a second submit changes nothing."""

    step: str
    iteration: int | None
    index: int | None
    attempt: int
    child: str
    workflow: str
    version: str | None
    inputs: dict[str, Any]


@dataclass(frozen=True, slots=True)
class CancelChild:
    """Ask a child run to end."""

    child: str


Command = StartStep | StartItems | StopStep | StartChild | CancelChild
