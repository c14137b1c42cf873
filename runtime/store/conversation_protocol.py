"""The seam for conversations: what agent steps of different runs say to each other under one name. Times are ms."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

SIMULATED = "simulated/"
"""What the names of simulated runs' conversations begin with in the store; no name a user writes has a slash."""


def stored_name(name: str, mode: str) -> str:
    """What a conversation of runs of this mode is called in the store: what a simulated model makes up must not be read by a real one."""
    return f"{SIMULATED}{name}" if mode == "simulated" else name


@dataclass(frozen=True, slots=True)
class NewExchange:
    """What one agent step has said, to be added to its conversation."""

    tenant: str
    conversation: str
    run_id: str
    step: str
    at: int
    messages: Sequence[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Exchange:
    """What one agent step has said. `seq` counts from 1 within its conversation."""

    seq: int
    run_id: str
    step: str
    at: int
    messages: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class ConversationRow:
    """A conversation; `head` is the number of its last exchange."""

    conversation: str
    head: int
    created_at: int
    updated_at: int


class Conversations(Protocol):
    """Every method raises StoreUnavailable. Adding has none: it is a part of `Journal.append`."""

    async def read(self, tenant: str, name: str) -> ConversationRow | None:
        """The conversation of this name."""
        ...

    async def page(self, tenant: str, name: str, *, after: int, limit: int) -> list[Exchange]:
        """Exchanges after number `after`, oldest first."""
        ...

    async def latest(self, tenant: str, name: str, most: int) -> list[Exchange]:
        """As many of the last exchanges as fit into `most` bytes of JSON, oldest first."""
        ...

    async def remove(self, tenant: str, name: str) -> bool:
        """Forget the conversation, a portion at a time; whether there was one."""
        ...
