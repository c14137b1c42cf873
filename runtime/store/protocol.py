"""The seam between the runtime and its database. One SQLAlchemy Core implementation serves SQLite and PostgreSQL.

Rules every implementation keeps (tests/contract/store): a method returns only after COMMIT; each write method groups its
callers into one transaction (group commit); an outcome the database did not confirm is re-read, never guessed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from runtime.engine.events import Event
from runtime.engine.states import RunStatus
from runtime.store.conversation_protocol import NewExchange
from runtime.store.money_protocol import LedgerRow, Raised
from runtime.store.slot_protocol import Slotted


@dataclass(frozen=True, slots=True)
class RunRow:
    """The materialised columns of a run: what lists and filters need. Always equal to the fold of its journal. Times are ms."""

    run_id: str
    tenant: str
    workflow: str
    definition: str
    """Content hash of the pinned definition."""
    status: RunStatus
    mode: str
    epoch: int
    head: int
    created_at: int
    owner: str | None = None
    waiting_for: str | None = None
    wake_at: int | None = None
    cancel_requested_at: int | None = None
    started_at: int | None = None
    ended_at: int | None = None
    priority: int = 0
    isolation: str = "shared"
    deaths: int = 0
    parent_run: str | None = None
    parent_step: str | None = None
    forked_from: str | None = None
    schedule_id: str | None = None
    """The schedule that started it."""
    schedule_tick: int | None = None
    """The tick it was started for; None when somebody triggered the schedule by hand."""
    labels: dict[str, str] = field(default_factory=dict)
    result: Any = None
    """The run's output, or a value reference, once it has succeeded."""
    error: dict[str, Any] | None = None
    keep_for: int | None = None
    """How long (ms) it is kept after its end, when its definition says so."""
    slot_group: str | None = None
    """Which runs this one shares its limits of concurrency with; None: it has none."""
    slot_key: str | None = None
    """The JSON of its concurrency key; empty without one."""
    slot_limit: int | None = None
    slot_per_key: int | None = None
    slot_on_limit: str | None = None
    """`queue`, `reject`, `cancel_old` or `cancel_new`."""
    slot_held: bool | None = None
    """Whether it has a slot, which it then keeps until it has ended. A run to insert leaves this to the store."""

    @property
    def lined_up(self) -> bool:
        """Whether the run is queued because it has no slot yet."""
        return self.slot_held is False and self.ended_at is None


@dataclass(frozen=True, slots=True)
class Idempotency:
    """A client's key for a submit: the same key and fingerprint always lead to the same run."""

    key: str
    fingerprint: str
    expires_at: int


@dataclass(frozen=True, slots=True)
class NewRun:
    """A run to insert: its row (status queued, epoch 0, head = len(events)) and its first events."""

    row: RunRow
    events: tuple[Event, ...]
    idempotency: Idempotency | None = None


@dataclass(frozen=True, slots=True)
class Submitted:
    """`created` is False when the idempotency key already led to this run."""

    run_id: str
    created: bool
    waiting: bool = False
    """It was inserted without a slot: there is nothing to claim yet, or it has ended at once."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A run that now belongs to the caller. `row` is as after the claim: epoch raised, head counting the `run.claimed` event."""

    row: RunRow
    events: tuple[Event, ...] | None = None
    """The whole journal, when it is short enough to come along (at most 100 events); else read it by `events()`."""
    opened: "AppendOutcome | None" = None
    """What became of the first turn, when one was written together with the claim."""


class MessageKind(StrEnum):
    """What may be put into a run's inbox."""

    CANCEL = "cancel"
    PAUSE = "pause"
    RESUME = "resume"
    """body: {budget?, by?}: what the run may spend from then on"""
    SIGNAL = "signal"
    """body: {name, payload}"""
    APPROVAL = "approval"
    """body: {approval_id, approved, form?, by?, comment?}"""
    CHILD = "child"
    """A child run has ended. body: {run_id, step, index?, iteration?, status, output?, error?}"""
    DECISION = "decision"
    """A person says what became of an attempt whose effect is unknown. body: {step, index?, action: retry|fail|succeed, output?}"""


@dataclass(frozen=True, slots=True)
class Message:
    """One row of a run's inbox. `message_id` is unique per run: sending it twice changes nothing."""

    run_id: str
    message_id: str
    kind: MessageKind
    body: dict[str, Any]
    at: int


class SendOutcome(StrEnum):
    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    """The same message id was accepted before."""
    MISSING = "missing"
    ENDED = "ended"
    CANCELED = "canceled"
    """A cancel met a queued run and ended it in the same transaction."""
    DECIDED = "decided"
    """The approval already has a decision."""


@dataclass(frozen=True, slots=True)
class ApprovalRow:
    """One question to a person, materialised from `approval.requested` and `approval.resolved`."""

    approval_id: str
    run_id: str
    workflow: str
    step: str
    requested_at: int
    message: str = ""
    form: Any = None
    show: Any = None
    expires_at: int | None = None
    decided_at: int | None = None
    decision: dict[str, Any] | None = None
    """{approved, form?, by?, comment?} as accepted from a person, or {approved, by: "expiry"}."""


class Removal(StrEnum):
    """What became of the wish to remove a run."""

    REMOVED = "removed"
    MISSING = "missing"
    ACTIVE = "active"
    """It has not ended."""
    NEEDED = "needed"
    """Its parent or one of its children has not ended."""


class AppendOutcome(StrEnum):
    COMMITTED = "committed"
    FENCED = "fenced"
    """The epoch or the head is no longer the caller's, or the run has ended: forget the run."""
    CANCEL_FIRST = "cancel_first"
    """A cancel was accepted before this end: nothing was written; read the inbox and decide again."""


@dataclass(frozen=True, slots=True)
class Append:
    """One turn's changes of one run, all or nothing. Guarded by `epoch` and by `head`, the last seq before `events`."""

    run_id: str
    epoch: int
    head: int
    events: tuple[Event, ...]
    status: RunStatus
    waiting_for: str | None = None
    started_at: int | None = None
    ended_at: int | None = None
    result: Any = None
    error: dict[str, Any] | None = None
    applied: tuple[str, ...] = ()
    """Ids of inbox messages these events have applied."""
    release: bool = False
    """Give the run up: owner becomes NULL and `wake_at` says when it may be claimed (None: when a message comes).
    If unapplied messages wait in the inbox at that moment, `wake_at` becomes now. An ended run is always released."""
    wake_at: int | None = None
    approvals: tuple[ApprovalRow, ...] = ()
    """Questions to insert, or to settle when `decided_at` is set."""
    messages: tuple[Message, ...] = ()
    """Messages to other runs (a child tells its parent), delivered in the same transaction."""
    progress: bool = True
    """False when all this does is to start again what an earlier owner had in flight: the run's `deaths` then stay."""
    children: tuple[NewRun, ...] = ()
    """Runs to insert in the same transaction. One whose id is already there was inserted by an earlier try: it is left alone."""
    exchanges: tuple[NewExchange, ...] = ()
    """What these events add to conversations."""
    ledger: tuple[LedgerRow, ...] = ()
    """The model calls that finished with these events."""
    settles: bool = False
    """The run ends, and its steps ask models: what is still held back for their calls is given back."""
    raised: Raised | None = None
    """The budget these events give the root run."""


@dataclass(frozen=True, slots=True)
class OwnerRow:
    """One process that may own runs. `beat` grows while it lives."""

    owner: str
    beat: int
    started_at: int
    host: str
    name: str
    """What to call it by: the Ray actor's name, or `local`."""
    version: str
    draining: bool = False


@dataclass(frozen=True, slots=True)
class RunQuery:
    """A page of runs, newest first. `before` is the run id the page starts after."""

    tenant: str | None
    """None: of all tenants, for the platform itself."""
    workflow: str | None = None
    status: tuple[str, ...] = ()
    parent_run: str | None = None
    schedule_id: str | None = None
    labels: dict[str, str] = field(default_factory=dict)
    created_after: int | None = None
    created_before: int | None = None
    owner: str | None = None
    """Only runs this process owns."""
    isolation: str | None = None
    waiting_for: str | None = None
    """What waiting runs wait for; `slot`: queued runs that have no slot."""
    claimable_at: int | None = None
    """Only runs nobody owns whose `wake_at` has come by then (ms)."""
    before: str | None = None
    limit: int = 50


@dataclass(frozen=True, slots=True)
class ApprovalQuery:
    """A page of approvals, newest first."""

    tenant: str
    pending: bool = True
    run_id: str | None = None
    before: str | None = None
    limit: int = 50


class Journal(Slotted, Protocol):
    """Runs, their events, their inboxes and their owners: all that durability rests on."""

    async def submit(self, runs: Sequence[NewRun]) -> list[Submitted]:
        """Insert runs, all or nothing. Raises IdempotencyMismatch when a key is known with another fingerprint, NotFound when the run
        one is forked from is gone, ConcurrencyLimit when one finds no slot and its workflow refuses such runs."""
        ...

    async def claim(
        self,
        owner: str,
        limit: int,
        *,
        run_ids: Sequence[str] = (),
        dead: Sequence[str] = (),
        shared: bool = False,
        fair: bool = False,
        now: int,
        first: "Callable[[Claim], Append | None] | None" = None,
    ) -> list[Claim]:
        """Take up to `limit` runs that nobody owns and whose `wake_at` has come, or whose owner is in `dead`.

        The highest priority first, then whoever is due longest; with `fair`, when not all can be taken, each workflow's first before
        any second one. With `run_ids`, only those (a dedicated run is taken only so, and with `shared` not even so). Each claim
        raises the epoch and appends `run.claimed`. `first` may give a claimed run's first append, which is then part of the same
        transaction; it must be pure and quick, may be called on another thread, and more than once.
        """
        ...

    async def append(self, append: Append) -> AppendOutcome:
        """Write one turn. At most one append per run may be under way. Raises StoreUnavailable when the outcome stays unknown."""
        ...

    async def send(self, message: Message) -> SendOutcome:
        """Put a message into a run's inbox and make the run claimable when nobody owns it."""
        ...

    async def inbox(self, owner: str) -> list[Message]:
        """Messages not yet applied of all runs of this owner, oldest first."""
        ...

    async def events(self, run_id: str, after: int = 0, limit: int = 1000) -> list[Event]: ...

    async def run(self, run_id: str) -> RunRow | None: ...

    async def runs(self, query: RunQuery) -> list[RunRow]: ...

    async def approvals(self, query: ApprovalQuery) -> list[ApprovalRow]: ...

    async def approval(self, approval_id: str) -> ApprovalRow | None: ...

    async def register(self, owner: OwnerRow, *, suspects: Sequence[str] = ()) -> None:
        """Begin to live. `suspects`: runs in the middle of whose turns the process before this one died; each gets one more of `deaths`,
        which its next progress takes away again."""
        ...

    async def beat(self, owner: str, *, draining: bool = False) -> bool:
        """Show that this owner lives. False when it was removed as dead: it must end itself."""
        ...

    async def owners(self) -> list[OwnerRow]: ...

    async def bury(self, owners: Sequence[str], *, now: int) -> int:
        """Remove dead owners; their runs become claimable. Returns how many runs."""
        ...

    async def active_runs(self) -> int:
        """Runs that have not ended."""
        ...

    async def remove(self, run_id: str) -> Removal:
        """Remove an ended run with all that belongs to it. From the first commit on it does not exist for anybody."""
        ...
