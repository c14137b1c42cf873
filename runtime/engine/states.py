"""The state machines: one table each. The engine, the SQL guards, the exhaustive tests and docs/state-machine.md all derive from them."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from runtime.engine.events import Kind
from runtime.errors import InvalidTransition


class RunStatus(StrEnum):
    """Where a run is. A crash is not a state: a run whose owner died is still running, and gets another owner."""

    QUEUED = "queued"
    RUNNING = "running"
    WAITING = "waiting"
    PAUSED = "paused"
    CANCELING = "canceling"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"

    @property
    def ended(self) -> bool:
        return self in TERMINAL_RUN


class StepStatus(StrEnum):
    """Where a step is. `scheduled`: ready, but waiting for a free place; `waiting`: for time, a person, a signal or a child run."""

    PENDING = "pending"
    SCHEDULED = "scheduled"
    RUNNING = "running"
    WAITING = "waiting"
    RETRYING = "retrying"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SKIPPED = "skipped"
    CANCELED = "canceled"

    @property
    def ended(self) -> bool:
        return self in TERMINAL_STEP


class WaitingFor(StrEnum):
    """What a waiting run waits for; when several apply, the first of this list is shown."""

    APPROVAL = "approval"
    DECISION = "decision"
    SIGNAL = "signal"
    BUDGET = "budget"
    CHILD = "child"
    RETRY = "retry"
    TIMER = "timer"


PEOPLE = frozenset({WaitingFor.APPROVAL, WaitingFor.DECISION, WaitingFor.SIGNAL, WaitingFor.BUDGET})
"""What only comes from outside: time spent so does not count against the duration of a run's budget, nor does a pause."""
TERMINAL_RUN = frozenset({RunStatus.SUCCEEDED, RunStatus.FAILED, RunStatus.CANCELED})
TERMINAL_STEP = frozenset({StepStatus.SUCCEEDED, StepStatus.FAILED, StepStatus.SKIPPED, StepStatus.CANCELED})

_R = RunStatus
RUN_TRANSITIONS: Mapping[Kind, Mapping[RunStatus, RunStatus]] = MappingProxyType(
    {
        Kind.RUN_STARTED: {_R.QUEUED: _R.RUNNING},
        Kind.RUN_WAITING: {_R.RUNNING: _R.WAITING},
        Kind.RUN_WOKEN: {_R.WAITING: _R.RUNNING},
        Kind.RUN_PAUSED: {_R.QUEUED: _R.PAUSED, _R.RUNNING: _R.PAUSED, _R.WAITING: _R.PAUSED},
        Kind.RUN_RESUMED: {_R.PAUSED: _R.RUNNING},
        Kind.RUN_CANCELING: {_R.QUEUED: _R.CANCELING, _R.RUNNING: _R.CANCELING, _R.WAITING: _R.CANCELING, _R.PAUSED: _R.CANCELING},
        Kind.RUN_SUCCEEDED: {_R.RUNNING: _R.SUCCEEDED},
        Kind.RUN_FAILED: {_R.QUEUED: _R.FAILED, _R.RUNNING: _R.FAILED, _R.WAITING: _R.FAILED, _R.PAUSED: _R.FAILED},
        Kind.RUN_CANCELED: {_R.QUEUED: _R.CANCELED, _R.CANCELING: _R.CANCELED},
    }
)
"""event → {state before: state after}; a pair that is not here is an invalid transition."""

_S = StepStatus
STEP_TRANSITIONS: Mapping[Kind, Mapping[StepStatus, StepStatus]] = MappingProxyType(
    {
        Kind.STEP_SCHEDULED: {_S.PENDING: _S.SCHEDULED},
        Kind.STEP_STARTED: {
            _S.PENDING: _S.RUNNING,
            _S.SCHEDULED: _S.RUNNING,
            _S.RETRYING: _S.RUNNING,
            _S.WAITING: _S.RUNNING,
            _S.RUNNING: _S.RUNNING,
        },
        Kind.STEP_WAITING: {
            _S.PENDING: _S.WAITING,
            _S.SCHEDULED: _S.WAITING,
            _S.RUNNING: _S.WAITING,
            _S.RETRYING: _S.WAITING,
            _S.WAITING: _S.WAITING,
        },
        Kind.STEP_ITERATED: {_S.PENDING: _S.RUNNING, _S.RUNNING: _S.RUNNING, _S.WAITING: _S.RUNNING},
        Kind.STEP_RETRYING: {_S.RUNNING: _S.RETRYING, _S.WAITING: _S.RETRYING},
        Kind.STEP_SUCCEEDED: {_S.PENDING: _S.SUCCEEDED, _S.RUNNING: _S.SUCCEEDED, _S.WAITING: _S.SUCCEEDED},
        Kind.STEP_FAILED: {
            _S.PENDING: _S.FAILED,
            _S.SCHEDULED: _S.FAILED,
            _S.RUNNING: _S.FAILED,
            _S.WAITING: _S.FAILED,
            _S.RETRYING: _S.FAILED,
        },
        Kind.STEP_SKIPPED: {_S.PENDING: _S.SKIPPED},
        Kind.STEP_CANCELED: {_S.SCHEDULED: _S.CANCELED, _S.RUNNING: _S.CANCELED, _S.WAITING: _S.CANCELED, _S.RETRYING: _S.CANCELED},
        Kind.STEP_REUSED: {_S.PENDING: _S.SUCCEEDED, _S.RUNNING: _S.SUCCEEDED},
        Kind.ITEMS_STARTED: {_S.RUNNING: _S.RUNNING},
        Kind.ITEMS_FINISHED: {_S.RUNNING: _S.RUNNING},
        Kind.ITEMS_REUSED: {_S.RUNNING: _S.RUNNING},
    }
)
"""The same for steps. A step that succeeds from `pending` is a pure one (`set`, `switch`, a `wait` that is over already)."""


def run_after(status: RunStatus, kind: Kind) -> RunStatus:
    """The run's state after an event of this kind. Raises InvalidTransition."""
    try:
        return RUN_TRANSITIONS[kind][status]
    except KeyError:
        raise InvalidTransition(f"a run that is {status} cannot have {kind}") from None


def step_after(status: StepStatus, kind: Kind) -> StepStatus:
    """The step's state after an event of this kind. Raises InvalidTransition."""
    try:
        return STEP_TRANSITIONS[kind][status]
    except KeyError:
        raise InvalidTransition(f"a step that is {status} cannot have {kind}") from None
