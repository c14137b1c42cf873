"""One owned run: its state and what has come in for it since its last turn. The mailbox of the actor model, in memory."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

from runtime.clock import Alarm
from runtime.engine.state import RunState
from runtime.steps.protocol import StepResult
from runtime.store.protocol import Message, RunRow
from runtime.tracing.ids import trace_id_of


@dataclass(slots=True)
class Recorded:
    """A finished model or tool call to journal before the agent goes on; `done` resolves to whether it was committed."""

    step_key: str
    body: dict[str, Any]
    done: asyncio.Future[bool]


@dataclass(slots=True)
class Slot:
    """A run this host owns. Only its own turn task touches `state`."""

    row: RunRow
    """As claimed."""
    state: RunState
    head: int = 0
    """The last seq that is committed."""
    results: list[StepResult] = field(default_factory=list)
    messages: dict[str, Message] = field(default_factory=dict)
    calls: list[Recorded] = field(default_factory=list)
    applied: set[str] = field(default_factory=set)
    """Messages whose application has been committed; the inbox query may have read them just before."""
    recover: bool = True
    turning: bool = False
    again: bool = True
    timer: Alarm | None = None

    @property
    def run_id(self) -> str:
        return self.row.run_id

    def facts(self) -> dict[str, Any]:
        """For logs."""
        return {"run_id": self.run_id, "tenant": self.row.tenant, "epoch": self.row.epoch, "trace_id": trace_id_of(self.state.traceparent)}

    def deliver(self, message: Message) -> bool:
        """Take a message unless it is known; True when it is new."""
        if message.message_id in self.messages or message.message_id in self.applied:
            return False
        self.messages[message.message_id] = message
        return True

    def take(self) -> tuple[list[StepResult], list[Message], list[Recorded]]:
        """Empty the mailbox."""
        taken = self.results, list(self.messages.values()), self.calls
        self.results, self.messages, self.calls = [], {}, []
        return taken

    @property
    def busy(self) -> bool:
        """Whether a turn is being taken, or there is something to take one for."""
        return bool(self.turning or self.again or self.results or self.messages or self.calls)

    def quiet(self) -> None:
        """Forget the alarm."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
