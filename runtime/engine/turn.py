"""One turn in the making: the events it has written so far, already folded into the state, and what it wants done afterwards."""

from dataclasses import dataclass, field
from heapq import heappop
from typing import Any

from runtime.definition.plan import PlannedStep
from runtime.engine.commands import Command
from runtime.engine.events import Event, Kind
from runtime.engine.evolve import evolve
from runtime.engine.scope import Scope
from runtime.engine.state import RunState, StepState
from runtime.engine.states import STEP_TRANSITIONS, RunStatus

MAX_EVENTS = 2_000
"""Events one turn may write before it commits and takes another, so that no run holds its host for long."""
MAX_ITEMS = 2_000
"""Items one turn may start."""


@dataclass(slots=True)
class Turn:
    """`events` are what to append, `commands` what to do once they are committed.

    `release`: nothing is in flight and nothing is due soon, so the run may be given up until `wake_at` (None: until a message).
    `more`: a bound was reached; take another turn at once. `loads`: values to bring in before the next turn.
    """

    state: RunState
    now: int
    events: list[Event] = field(default_factory=list)
    commands: list[Command] = field(default_factory=list)
    loads: list[dict[str, Any]] = field(default_factory=list)
    applied: list[str] = field(default_factory=list)
    release: bool = False
    wake_at: int | None = None
    more: bool = False
    recovering: bool = False
    """What is started now was in flight under the owner before."""

    def emit(self, kind: Kind, step: str | None = None, *, attempt: int | None = None, body: dict[str, Any] | None = None) -> None:
        """Write an event and fold it. A step's event wakes a waiting run, and so does an answer: it may wait for something else now."""
        if (kind in STEP_TRANSITIONS or kind is Kind.CALL_ANSWERED) and self.state.status is RunStatus.WAITING:
            self._write(Kind.RUN_WOKEN)
        self._write(kind, step, attempt, body)

    def _write(self, kind: Kind, step: str | None = None, attempt: int | None = None, body: dict[str, Any] | None = None) -> None:
        event = Event(self.state.head + 1, self.state.epoch, kind, self.now, step, attempt, body)
        evolve(self.state, event)
        self.events.append(event)

    def step(self, name: str) -> tuple[PlannedStep, StepState]:
        """The plan and the state of a step."""
        return self.state.plan.steps[name], self.state.steps[name]

    @property
    def full(self) -> bool:
        return len(self.events) >= MAX_EVENTS

    def scope(self, name: str, *, resolve: bool = True, **local: Any) -> Scope:
        """What the expressions of this step see; in a loop also `iteration` and `previous`, the output of the one before."""
        planned, step = self.step(name)
        if planned.step.loop is not None:
            between = step.attempt == 0 and step.iteration is not None
            local = {"iteration": (step.iteration or 0) + between, "previous": step.output, **local}
        return Scope(self.state, local, resolve=resolve)

    def next_alarm(self) -> int | None:
        """When the run has to be looked at again, forgetting alarms of steps that have ended."""
        alarms = self.state.alarms
        while alarms and alarms[0][1] and self.state.steps[alarms[0][1]].status.ended:
            heappop(alarms)
        return alarms[0][0] if alarms else None
