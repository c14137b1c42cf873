"""A run in memory: what the fold of its journal yields. Only `evolve` changes it."""

from collections import deque
from dataclasses import dataclass, field
from typing import Any

from runtime.definition.expressions import Expression
from runtime.definition.model import Map
from runtime.definition.plan import Plan
from runtime.engine.states import RunStatus, StepStatus


def step_key(step: str, iteration: int | None) -> str:
    """A step's path within its run: its id, and in a loop the iteration: `poll#3`."""
    return step if iteration is None else f"{step}#{iteration}"


def split_key(key: str) -> tuple[str, int | None]:
    """The inverse of `step_key`."""
    step, mark, iteration = key.partition("#")
    return step, int(iteration) if mark else None


@dataclass(slots=True)
class Items:
    """The items of one map. Every operation on it costs the same however many items there are."""

    spec: Map
    over: Expression
    total: int
    outputs: list[Any]
    """By index; None where an item has not succeeded."""
    attempts: list[int]
    next: int = 0
    """The first index that was never started; all below it were."""
    done: int = 0
    running: set[int] = field(default_factory=set)
    retrying: dict[int, int] = field(default_factory=dict)
    """index → when (ms) the next attempt is due."""
    due: list[tuple[int, int]] = field(default_factory=list)
    """Heap of (due, index); an entry counts only while `retrying` agrees with it."""
    asking: dict[int, int] = field(default_factory=dict)
    """index → open questions of an item that is not running until they are answered."""
    failures: dict[int, int] = field(default_factory=dict)
    """index → attempts that failed by themselves, of items that are still open."""
    crashes: dict[int, int] = field(default_factory=dict)
    """index → attempts whose process died, of items that are still open."""
    failed: dict[int, dict[str, Any]] = field(default_factory=dict)
    finished: set[int] = field(default_factory=set)
    stored: list[int] = field(default_factory=list)
    """Those of `finished` whose output is a reference to the artifact store."""
    whole: list[Any] | None = None
    """`outputs` with the stored ones brought in, once an expression has asked for them. A cache, not part of the fold."""

    @property
    def open(self) -> int:
        """Items that have neither succeeded nor finally failed."""
        return self.total - self.done - len(self.failed)


@dataclass(frozen=True, slots=True)
class Ask:
    """A tool call of an agent that waits for an answer. `id` is the approval's or the child run's."""

    id: str
    index: int | None
    """The item whose agent asks; None without map."""
    call: str
    """What tells the call from the others of its step or item, the same in every attempt."""
    kind: str
    """`approval` or `child`."""
    due: int | None = None
    """When (ms) nobody answers any more."""


@dataclass(slots=True)
class StepState:
    """One step. Times are ms since the epoch; `due` is when waiting or a retry delay ends."""

    status: StepStatus = StepStatus.PENDING
    attempt: int = 0
    failures: int = 0
    """Attempts of this iteration that failed by themselves: what `max_attempts` counts."""
    crashes: int = 0
    """Attempts of this iteration whose process died."""
    iteration: int | None = None
    output: Any = None
    error: dict[str, Any] | None = None
    started_at: int | None = None
    ended_at: int | None = None
    due: int | None = None
    waiting: dict[str, Any] | None = None
    """The body of the `step.waiting` that holds it."""
    items: Items | None = None
    reason: str | None = None
    """Why it was skipped."""
    open_needs: int = 0
    """How many of the steps it needs have not ended."""
    met: int = 0
    """How many of the steps it needs have succeeded, or failed with `on_error: continue`."""
    missed: str | None = None
    """The first step it needs that ended otherwise."""
    open_routers: int = 0
    chosen: bool = False
    """One of its routers has chosen it."""
    cached: bool = False
    """The output was taken over from another run."""
    messages: Any = None
    """What an agent and its model said, when something reads it; like an output it may be stored."""
    artifacts: dict[str, dict[str, Any]] = field(default_factory=dict)
    """The named artifacts it saved, by name: `{name, sha256, size, media_type}`."""
    conversation: str | None = None
    """The conversation the current attempt takes part in."""
    calls: dict[int | None, list[dict[str, Any]]] = field(default_factory=dict)
    """item index (None without map) → bodies of `call.finished`, in order, and what was answered to calls that had to wait."""
    asks: dict[str, Ask] = field(default_factory=dict)
    """Open questions of its agents, by their ids."""


@dataclass(slots=True)
class RunState:
    """A run. `frontier` (an ordered set) holds the steps whose readiness may have changed since they were last looked at."""

    run_id: str
    plan: Plan
    status: RunStatus = RunStatus.QUEUED
    head: int = 0
    epoch: int = 0
    mode: str = "live"
    seed: int = 0
    inputs: Any = None
    labels: dict[str, str] = field(default_factory=dict)
    parent: dict[str, Any] | None = None
    forked_from: dict[str, Any] | None = None
    traceparent: str | None = None
    created_at: int = 0
    started_at: int | None = None
    ended_at: int | None = None
    output: Any = None
    error: dict[str, Any] | None = None
    """Why the run fails: set by the first step that fails it, before the run has ended."""
    canceling: bool = False
    finishing: bool = False
    """The main steps are over; `finally` runs. Not part of the fold: `decide` finds it out again."""
    waiting_for: str | None = None
    steps: dict[str, StepState] = field(default_factory=dict)
    frontier: dict[str, None] = field(default_factory=dict)
    active: dict[str, None] = field(default_factory=dict)
    """Steps that are scheduled, running, waiting or retrying, in the order they became so."""
    alarms: list[tuple[int, str]] = field(default_factory=list)
    """Heap of (ms, step): when to look at a step again because of a delay, an expiry or a deadline; "" is the run itself.
    An entry whose step has ended means nothing."""
    open_main: int = 0
    open_final: int = 0
    signals: dict[str, deque[dict[str, Any]]] = field(default_factory=dict)
    """name → bodies of `signal.received` that no step has taken yet, oldest first."""
    user: str = ""
    """Who started the root run: the id of an API key, `schedule:<name>`, `hook:<name>`, or nothing."""
    budget: dict[str, Any] | None = None
    """Of the root run (runtime.money.budgets)."""
    short: dict[str, Any] | None = None
    """Of a run that is paused for it: which budget is used up."""
    worked: int = 0
    """Milliseconds of work before `working_since`: without pauses, and without waiting for people."""
    working_since: int | None = None
    loaded: dict[str, Any] = field(default_factory=dict)
    """sha256 → value: large values brought in for expressions. A cache, not part of the fold."""
    memo: dict[str, list[Any]] = field(default_factory=dict)
    """step → the list its map runs over. A cache as well."""
    lost: dict[str, None] = field(default_factory=dict)
    """Steps the owner before had in flight and this one has not started again yet. Not part of the fold either."""

    @property
    def ended(self) -> bool:
        return self.status.ended

    @property
    def root(self) -> str:
        """The run at the top, which nobody else's step has started."""
        return str((self.parent or {}).get("root") or (self.parent or {}).get("run_id") or self.run_id)
